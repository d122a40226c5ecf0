"""What a second ahead is foreseen of load that stays, rises, swings and stops."""

from __future__ import annotations

import math
import random

import pytest

from scheduler.forecast import AHEAD, BIN_S, KEPT, Forecast


def told(counts: list[int], start: float = 0.0) -> tuple[Forecast, float]:
    """A forecast that was told these counts by bin, and the time at their end."""
    forecast = Forecast()
    for i, count in enumerate(counts):
        for j in range(count):
            forecast.note(start + (i + j / count) * BIN_S, 1)
    return forecast, start + len(counts) * BIN_S


def test_nothing_is_foreseen_of_nothing() -> None:
    assert Forecast().ahead(0.0) == 0.0
    assert Forecast().ahead(1e6) == 0.0


@pytest.mark.parametrize("start", [0.0, 1e5, -3.0])
def test_steady_load_goes_on(start: float) -> None:
    forecast, now = told([10] * 40, start)
    assert forecast.ahead(now) == pytest.approx(10 / BIN_S)


def test_rows_count_and_not_requests() -> None:
    forecast = Forecast()
    for i in range(40):
        forecast.note(i * BIN_S, 8)
    assert forecast.ahead(40 * BIN_S) == pytest.approx(8 / BIN_S)


def test_a_ramp_is_followed_to_where_it_will_be() -> None:
    forecast, now = told([2 * i for i in range(1, 41)])
    assert forecast.best == "trend"
    assert forecast.ahead(now) == pytest.approx(2 * (40 + AHEAD) / BIN_S, rel=0.02)


def test_noise_is_averaged() -> None:
    draw = random.Random(1)
    forecast, now = told([round(max(0.0, draw.gauss(20, 8))) for _ in range(400)])
    assert forecast.best == "long"
    assert forecast.ahead(now) == pytest.approx(20 / BIN_S, rel=0.25)


def test_a_step_is_believed_within_two_seconds() -> None:
    forecast, now = told([5] * 60 + [50] * math.ceil(2 / BIN_S))
    assert forecast.ahead(now) > 40 / BIN_S


def test_silence_ends_what_was_foreseen() -> None:
    forecast, now = told([30] * 60)
    assert forecast.ahead(now + (KEPT + AHEAD + 1) * BIN_S) == 0.0


def test_a_long_silence_costs_no_more_than_a_short_one() -> None:
    forecast, now = told([30] * 8)
    assert forecast.ahead(now + 1e12) == 0.0


def test_time_that_stands_still_or_goes_back_changes_nothing() -> None:
    forecast, now = told([10] * 20)
    before = forecast.ahead(now)
    assert forecast.ahead(now) == before
    assert forecast.ahead(now - 5.0) == before
