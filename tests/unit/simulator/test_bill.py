"""What a tier's use costs."""

from __future__ import annotations

from random import Random

import pytest

from registry.model import Price
from registry.prices import invocation_cost, lambda_price
from simulator.bill import Dollars, Meter


@pytest.mark.parametrize("bills_init", [True, False])
def test_the_sum_is_that_of_the_prices_own_arithmetic(bills_init: bool) -> None:
    price = Price(0.3, 0.002, 0.05, bills_init=bills_init, step_ms=7.0)
    meter, random, expected = Meter(price), Random(1), 0.0
    for _ in range(200):
        billed, init = random.uniform(0.0, 90.0), random.choice((None, random.uniform(0.0, 300.0)))
        one = meter.add(billed, init)
        assert one == pytest.approx(invocation_cost(price, billed, cold=init is not None, init_ms=init or 0.0))
        expected += one
    assert meter.dollars().total == pytest.approx(expected)


def test_a_million_invocations_of_lambda_by_hand() -> None:
    # 1,769 MB at $0.0000166667 per GB-second for 29 ms, rounded up to whole milliseconds, and $0.20 a million.
    meter = Meter(lambda_price(1769))
    for _ in range(1000):
        meter.add(28.3)
    assert meter.dollars().requests == pytest.approx(0.0002)
    assert meter.dollars().busy == pytest.approx(1000 * 0.029 * 1769 / 1024 * 0.0000166667)


def test_what_is_kept_and_started_is_paid_for() -> None:
    meter = Meter(Price(1.0, usd_per_start=0.5, usd_per_idle_s=0.25))
    meter.start(100.4)
    meter.idle_s = 8.0
    assert meter.dollars() == Dollars(init=pytest.approx(0.101), starts=0.5, idle=2.0)
    assert (meter.dollars() + meter.dollars()).total == pytest.approx(2 * meter.dollars().total)
