"""Idle hours and starts in dollars."""

from __future__ import annotations

import pytest

from registry.model import StartMode
from registry.prices import invocation_cost, lambda_price
from simulator.keepalive.cost import MEMORY_MB, usd


def test_idle_time_costs_what_provisioned_concurrency_does() -> None:
    # 1,769 MB are 1.7275 GB, at $0.0000041667 a second and gigabyte.
    assert usd(10.0, 0, 1.0) == pytest.approx(36_000 * 1.7275390625 * 4.1667e-6)
    assert usd(1.0, 0, 1.0) == 3600 * lambda_price(MEMORY_MB, start_mode=StartMode.PROVISIONED).usd_per_idle_s


def test_a_start_costs_what_its_init_adds_to_an_invocation() -> None:
    price = lambda_price(MEMORY_MB)
    cold = invocation_cost(price, 5.0, cold=True, init_ms=808.0) - invocation_cost(price, 5.0)
    assert usd(0.0, 100, 0.808) == pytest.approx(100 * cold)
