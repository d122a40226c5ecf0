"""The windows of histograms of idle times, by the published rules."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.keepalive.histogram import (
    ENOUGH,
    RANGE,
    HybridHistogram,
    LongShort,
    next_idle,
    windows,
)
from simulator.keepalive.policy import KeepAlive


def last_plan(policy: KeepAlive, times: list[float]) -> tuple[float, float]:
    """Where the last plan starts and stops, from its request on."""
    plans = [policy.asked("a", time)["a"] for time in times]
    ((start, stop),) = plans[-1]
    return start - times[-1], stop - times[-1]


def every(minutes: float, count: int) -> list[float]:
    return [1.0 + i * minutes for i in range(count)]


def test_percentiles_are_rounded_outwards_to_the_edges_of_their_bins() -> None:
    bins = np.zeros(RANGE, dtype=np.int64)
    bins[4], bins[9], bins[30] = 5, 94, 1
    assert windows(bins) == (4, 10)
    bins[3] = 10
    assert windows(bins) == (3, 10)
    bins[30] = 10
    assert windows(bins) == (3, 31)


def test_a_timer_is_loaded_shortly_before_and_kept_shortly_after() -> None:
    assert last_plan(HybridHistogram(), every(5.0, 20)) == pytest.approx((0.9 * 4, 1.1 * 5))
    assert last_plan(HybridHistogram(), every(4.99, 20)) == pytest.approx((0.9 * 4, 1.1 * 5))


def test_a_head_in_the_first_bin_is_never_unloaded() -> None:
    assert last_plan(HybridHistogram(), every(1.0, 20)) == pytest.approx((0.0, 1.1))


def test_without_idle_times_it_is_kept_for_the_whole_range() -> None:
    assert last_plan(HybridHistogram(), [7.0]) == (0.0, RANGE)
    assert last_plan(LongShort(), [7.0]) == (0.0, RANGE)


def test_idle_times_of_all_lengths_say_nothing_and_it_is_kept_for_the_whole_range() -> None:
    gaps = np.random.default_rng(0).permutation(np.arange(1.0, RANGE + 1))
    assert last_plan(HybridHistogram(), [0.0, *np.cumsum(gaps).tolist()]) == (0.0, RANGE)


def test_beyond_the_range_a_forecast_has_its_margins() -> None:
    assert last_plan(HybridHistogram(), every(300.0, 3)) == pytest.approx((0.85 * 300, 1.15 * 300))
    # Half of the idle times are enough for that, and fewer are not.
    assert last_plan(HybridHistogram(), [0.0, 300.0, 310.0]) == pytest.approx((0.85 * 155, 1.15 * 155))
    assert last_plan(HybridHistogram(), [0.0, 300.0, 310.0, 320.0]) == pytest.approx((0.9 * 9, 1.1 * 10))


def test_a_forecast_is_the_mean_until_an_autoregression_can_be_fitted() -> None:
    assert next_idle([100.0, 300.0, 200.0]) == 200.0
    alternating = [100.0, 300.0] * ENOUGH
    assert next_idle(alternating) == pytest.approx(100.0)
    assert next_idle([*alternating, 100.0]) == pytest.approx(300.0)
    assert next_idle([250.0] * 6) == pytest.approx(250.0)


def test_a_forecast_stays_within_what_was_seen() -> None:
    assert next_idle([1.0, 2.0, 4.0, 8.0, 16.0]) == 16.0


def test_the_last_hour_weighs_as_much_as_the_day() -> None:
    slow, fast = every(30.0, 21), [1.0 + 20 * 30.0 + 5.0 * i for i in range(1, 14)]
    # The last hour holds gaps of 5 minutes alone: (4, 5]; the day 30 minutes at its tail and 5 at its head.
    assert last_plan(LongShort(), slow + fast) == pytest.approx((0.9 * 4.0, 1.1 * (0.5 * 30 + 0.5 * 5)))


def test_without_a_recent_idle_time_the_day_speaks_alone() -> None:
    policy = LongShort()
    assert last_plan(policy, every(90.0, 5)) == pytest.approx((0.9 * 89, 1.1 * 90))


def test_applications_do_not_learn_from_each_other() -> None:
    policy = HybridHistogram()
    for time in every(5.0, 20):
        policy.asked("a", time)
    assert policy.asked("b", 200.0) == {"b": ((200.0, 200.0 + RANGE),)}
    assert policy.closed(1, ["a"]) == {}
