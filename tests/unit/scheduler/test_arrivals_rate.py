"""The rate of arrivals follows the newest ones."""

from __future__ import annotations

from math import sqrt
from random import Random
from statistics import fmean, pstdev

import pytest

from scheduler.arrivals import NEWEST, Arrivals


def steady(rate: float, count: int, start: float = 0.0, rows: int = 1) -> tuple[Arrivals, float]:
    arrivals, now = Arrivals(), start
    for i in range(count):
        now = start + i / rate
        arrivals.note(now, rows)
    return arrivals, now


def test_nothing_is_known_before_the_second_arrival() -> None:
    arrivals = Arrivals()
    assert arrivals.rate(5.0) == 0.0
    arrivals.note(1.0)
    assert arrivals.rate(2.0) == 0.0


@pytest.mark.parametrize("count", [2, 10, NEWEST + 1, 1000])
@pytest.mark.parametrize("rows", [1, 7])
def test_a_steady_stream_has_its_rate_in_rows(count: int, rows: int) -> None:
    arrivals, now = steady(50.0, count, rows=rows)
    assert arrivals.rate(now) == pytest.approx(50.0 * rows)


def test_a_silence_lowers_the_rate_as_it_lasts() -> None:
    arrivals, now = steady(100.0, 100)
    assert arrivals.rate(now + NEWEST / 100.0) == pytest.approx(50.0)
    assert arrivals.rate(now + 1e6) < 1e-3


def test_a_burst_shows_after_some_ten_arrivals() -> None:
    arrivals, now = steady(10.0, 100)
    for i in range(1, NEWEST // 2):
        arrivals.note(now + i / 1000.0)
    assert arrivals.rate(now + (NEWEST // 2 - 1) / 1000.0) > 15.0
    for i in range(NEWEST // 2, 2 * NEWEST):
        arrivals.note(now + i / 1000.0)
    assert arrivals.rate(now + (2 * NEWEST - 1) / 1000.0) == pytest.approx(1000.0)


def test_arrivals_at_one_instant_have_no_rate_yet() -> None:
    arrivals = Arrivals()
    for _ in range(NEWEST * 2):
        arrivals.note(3.0)
    assert arrivals.rate(3.0) == 0.0
    assert arrivals.rate(4.0) == pytest.approx(NEWEST)


def test_the_standard_error_is_as_said() -> None:
    random, seen = Random(1), []
    for _ in range(300):
        arrivals, now = Arrivals(), 0.0
        for _ in range(NEWEST + 1):
            now += random.expovariate(20.0)
            arrivals.note(now)
        seen.append(arrivals.rate(now))
    assert fmean(seen) == pytest.approx(20.0, rel=0.1)
    assert pstdev(seen) / fmean(seen) == pytest.approx(1 / sqrt(NEWEST), rel=0.25)
