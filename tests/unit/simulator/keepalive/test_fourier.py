"""Fourier extrapolation, and what it keeps warm."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.keepalive.fourier import HARMONICS, POINTS, IceBreaker, extrapolated
from simulator.keepalive.replay import replay
from simulator.keepalive.trace import one_a_minute
from simulator.traces import PerMinute


def test_a_line_and_a_constant_go_on() -> None:
    found = extrapolated(np.array([np.arange(50) * 0.5 + 3.0, np.full(50, 2.0), np.zeros(50)]))
    assert found == pytest.approx([28.0, 2.0, 0.0])


def test_a_period_that_divides_the_history_goes_on() -> None:
    time = np.arange(POINTS)
    for cycles in (1, 3, HARMONICS):
        wave = np.cos(2 * np.pi * cycles * time / POINTS)
        # The trend of a whole number of cosines is small but is not none.
        assert extrapolated(wave[None, :]) == pytest.approx([1.0], abs=0.05)


def test_higher_harmonics_are_left_out() -> None:
    time = np.arange(POINTS)
    fast = np.cos(2 * np.pi * (HARMONICS + 5) * time / POINTS)
    assert abs(extrapolated(fast[None, :])[0]) < 0.05


def test_it_is_the_textbook_sum_of_harmonics() -> None:
    history = np.random.default_rng(1).random((3, 37))
    for row, found in zip(history, extrapolated(history), strict=True):
        time = np.arange(37)
        slope = np.polyfit(time, row, 1)[0]
        spectrum, frequencies = np.fft.fft(row - slope * time), np.fft.fftfreq(37)
        kept = np.argsort(np.abs(frequencies), kind="stable")[: 1 + 2 * HARMONICS]
        waves = spectrum[kept] / 37 * np.exp(2j * np.pi * frequencies[kept] * 37)
        assert found == pytest.approx(waves.sum().real + slope * 37)


def test_what_is_always_asked_for_is_kept_warm_and_what_never_again_is_not() -> None:
    counts = np.zeros((2, 200), dtype=np.int64)
    counts[0], counts[1, 0] = 1, 1
    trace = one_a_minute(PerMinute(("always", "once"), counts), "minute")
    always, once = replay(trace, IceBreaker(trace.applications)).played
    assert always.colds == (1.0, 2.0)
    # As long as the harmonics still hold all of the history, its first value follows its last.
    assert once.idle <= 2 * HARMONICS + 1


def test_a_higher_threshold_is_never_warmer() -> None:
    counts = (np.random.default_rng(2).random((4, 300)) < [[0.1], [0.3], [0.6], [0.9]]).astype(np.int64)
    trace = one_a_minute(PerMinute(tuple("abcd"), counts), "minute")
    found = [replay(trace, IceBreaker(trace.applications, warm_above=above)) for above in (0.1, 0.5, 0.9)]
    assert found[0].idle_hours > found[1].idle_hours > found[2].idle_hours
    assert found[0].cold_share < found[1].cold_share < found[2].cold_share


def test_what_is_told_moves_the_window_of_history() -> None:
    policy = IceBreaker(["a"])
    warm = [bool(policy.closed(minute, ["a"] if minute <= 150 else [])) for minute in range(1, 400)]
    assert not warm[0]
    assert all(warm[1:150])
    assert not any(warm[150 + POINTS :])
