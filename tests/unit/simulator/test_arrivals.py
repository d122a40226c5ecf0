from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.arrivals import Floats, gamma, modulated, of_counts, of_stamps, poisson, scaled, window

SECONDS = 1000.0
SEEDS = st.integers(0, 2**32)
STAMPS = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50)


def dispersion(times: Floats, seconds: float) -> float:
    """Variance of the counts per second over their mean: 1 for a Poisson process."""
    counts = np.bincount(times.astype(np.int64), minlength=int(seconds))
    return float(counts.var() / counts.mean())


@pytest.mark.parametrize("seed", range(5))
def test_poisson_has_its_rate_and_is_as_dispersed_as_poisson(seed: int) -> None:
    times = poisson(50.0, SECONDS, seed=seed)
    gaps = np.diff(times)
    # Five standard deviations of each, or more.
    assert len(times) == pytest.approx(50_000, abs=5 * 50_000**0.5)
    assert dispersion(times, SECONDS) == pytest.approx(1.0, abs=5 * (2 / SECONDS) ** 0.5)
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.05)


@given(st.floats(0.0, 100.0), st.floats(0.0, 10.0), SEEDS)
def test_poisson_ascends_within_its_window_and_repeats(rate: float, seconds: float, seed: int) -> None:
    times = poisson(rate, seconds, seed=seed)
    assert times.dtype == np.float64
    assert (np.diff(times) >= 0).all()
    assert len(times) == 0 or 0.0 <= times[0] <= times[-1] <= seconds
    assert times.tobytes() == poisson(rate, seconds, seed=seed).tobytes()


def test_another_seed_draws_other_arrivals() -> None:
    assert poisson(10.0, 10.0, seed=1).tobytes() != poisson(10.0, 10.0, seed=2).tobytes()
    assert modulated([1, 9], 1.0, 10.0, seed=1).times.tobytes() != modulated([1, 9], 1.0, 10.0, seed=2).times.tobytes()


def test_no_rate_and_no_time_hold_no_arrivals() -> None:
    assert len(poisson(0.0, 100.0, seed=0)) == 0
    assert len(poisson(100.0, 0.0, seed=0)) == 0


@pytest.mark.parametrize(("rate", "seconds"), [(-1.0, 1.0), (np.nan, 1.0), (1.0, -1.0), (1.0, np.inf)])
def test_poisson_refuses_what_is_no_rate_or_time(rate: float, seconds: float) -> None:
    with pytest.raises(ValueError, match="must be finite and not negative"):
        poisson(rate, seconds, seed=0)


@pytest.mark.parametrize("seed", range(3))
def test_modulated_changes_between_its_rates(seed: int) -> None:
    seconds, rates = 20_000.0, (10.0, 50.0, 90.0)
    times, phases = modulated(rates, 5.0, seconds, seed=seed)
    starts = np.array([phase.start_s for phase in phases])
    stays = np.diff([*starts, seconds])
    assert starts[0] == 0.0
    assert {phase.rate for phase in phases} == set(rates)
    assert all(a.rate != b.rate for a, b in pairwise(phases))
    assert stays.mean() == pytest.approx(5.0, rel=0.1)
    assert stays.std() == pytest.approx(5.0, rel=0.15)
    counts = np.histogram(times, [*starts, seconds])[0]
    for rate in rates:
        own = np.array([phase.rate == rate for phase in phases])
        assert stays[own].sum() == pytest.approx(seconds / 3, rel=0.15)
        assert counts[own].sum() / stays[own].sum() == pytest.approx(rate, rel=0.02)


def test_modulated_is_far_more_dispersed_than_poisson_of_the_same_mean() -> None:
    times = modulated([5.0, 95.0], 10.0, SECONDS, seed=3).times
    assert len(times) / SECONDS == pytest.approx(50.0, rel=0.25)
    assert dispersion(times, SECONDS) > 20.0


@given(st.lists(st.floats(0.0, 50.0), min_size=1, max_size=4), st.floats(0.1, 10.0), st.floats(0.0, 10.0), SEEDS)
def test_modulated_ascends_within_its_window_and_repeats(
    rates: list[float], stay_s: float, seconds: float, seed: int
) -> None:
    found = modulated(rates, stay_s, seconds, seed=seed)
    assert (np.diff(found.times) >= 0).all()
    assert len(found.times) == 0 or 0.0 <= found.times[0] <= found.times[-1] <= seconds
    assert all(a.start_s <= b.start_s < seconds for a, b in pairwise(found.phases))
    again = modulated(rates, stay_s, seconds, seed=seed)
    assert again.times.tobytes() == found.times.tobytes()
    assert again.phases == found.phases


def test_one_rate_never_changes() -> None:
    found = modulated([20.0], 0.1, 100.0, seed=0)
    assert found.phases == ((0.0, 20.0),)
    assert len(found.times) == pytest.approx(2000, abs=5 * 2000**0.5)


@pytest.mark.parametrize(
    ("rates", "stay_s", "said"),
    [([], 1.0, "at least one rate"), ([1.0, -1.0], 1.0, "rate must be"), ([1.0, 2.0], 0.0, "stay_s must be positive")],
)
def test_modulated_refuses_what_makes_no_process(rates: list[float], stay_s: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        modulated(rates, stay_s, 1.0, seed=0)


@given(st.lists(st.integers(0, 20), max_size=50), st.sampled_from([0.5, 1.0, 60.0]), SEEDS)
def test_counts_are_kept_in_every_bin(counts: list[int], width_s: float, seed: int) -> None:
    times = of_counts(counts, seed=seed, width_s=width_s)
    assert (np.diff(times) >= 0).all()
    assert np.bincount((times / width_s).astype(np.int64), minlength=len(counts)).tolist() == counts
    assert times.tobytes() == of_counts(counts, seed=seed, width_s=width_s).tobytes()


def test_counts_are_spread_over_their_bin() -> None:
    within = of_counts([0, 10_000], seed=0, width_s=2.0) - 2.0
    assert np.quantile(within, [0.25, 0.5, 0.75]) == pytest.approx([0.5, 1.0, 1.5], abs=0.05)


def test_counts_must_be_counts_and_bins_have_a_width() -> None:
    with pytest.raises(ValueError, match=r"counts\[1\] is negative: -2"):
        of_counts([1, -2], seed=0)
    with pytest.raises(ValueError, match="width_s must be positive"):
        of_counts([1], seed=0, width_s=0.0)


@given(STAMPS)
def test_stamps_begin_at_zero_and_keep_their_distances(stamps: list[float]) -> None:
    times = of_stamps(stamps)
    assert times[0] == 0.0
    assert times.tolist() == [stamp - min(stamps) for stamp in sorted(stamps)]


def test_no_stamps_are_no_arrivals_and_a_stamp_is_finite() -> None:
    assert of_stamps([]).tolist() == []
    with pytest.raises(ValueError, match="not finite"):
        of_stamps([1.0, np.nan])


def test_scaled_plays_so_many_times_as_fast() -> None:
    assert scaled(np.array([0.0, 60.0, 3600.0]), 60.0).tolist() == [0.0, 1.0, 60.0]
    with pytest.raises(ValueError, match="factor must be positive"):
        scaled(np.array([1.0]), 0.0)


def test_window_counts_from_its_start_and_leaves_its_stop_out() -> None:
    times = np.array([0.0, 1.0, 1.5, 2.0, 3.0])
    assert window(times, 1.0, 2.0).tolist() == [0.0, 0.5]
    assert window(times, 5.0, 9.0).tolist() == []
    with pytest.raises(ValueError, match="no extent"):
        window(times, 2.0, 1.0)


@given(STAMPS, st.floats(0.0, 1e9))
def test_windows_side_by_side_hold_every_arrival_once(stamps: list[float], cut: float) -> None:
    times = of_stamps(stamps)
    assert len(window(times, 0.0, cut)) + len(window(times, cut, np.inf)) == len(times)


@pytest.mark.parametrize("cv", [0.0, 0.3, 1.0, 4.0])
def test_gamma_has_its_rate_and_its_variation(cv: float) -> None:
    times = gamma(50.0, cv, SECONDS, seed=1)
    gaps = np.diff(times)
    assert len(times) == pytest.approx(50_000, abs=5 * max(cv, 0.01) * 50_000**0.5)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, abs=0.1 * cv + 1e-9)


@given(st.floats(0.0, 100.0), st.floats(0.0, 8.0), st.floats(0.0, 10.0), SEEDS)
def test_gamma_ascends_within_its_window_and_repeats(rate: float, cv: float, seconds: float, seed: int) -> None:
    times = gamma(rate, cv, seconds, seed=seed)
    assert (np.diff(times) >= 0).all()
    assert len(times) == 0 or 0.0 <= times[0] <= times[-1] < seconds
    assert times.tobytes() == gamma(rate, cv, seconds, seed=seed).tobytes()


def test_gamma_refuses_what_is_negative() -> None:
    with pytest.raises(ValueError, match="cv must be finite and not negative"):
        gamma(1.0, -1.0, 1.0, seed=0)
