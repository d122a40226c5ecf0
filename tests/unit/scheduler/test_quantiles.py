from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from registry.model import LEVELS
from scheduler.quantiles import (
    NORMAL,
    TAIL,
    WEIGHTS,
    add,
    around,
    bracket,
    delay,
    deviation,
    mix,
    probability,
    probability_of,
    stretch,
)

UNIFORM = np.array([LEVELS]).T * 100.0
"""Quantiles of a uniform time on [0, 100] ms."""
FIVE = np.full((len(LEVELS), 1), 5.0)


def test_atoms_stand_for_everything() -> None:
    assert WEIGHTS.sum() == pytest.approx(1.0)
    assert WEIGHTS.max() <= 0.125 + 1e-12


def test_adding_a_constant_shifts_exactly() -> None:
    assert add(UNIFORM, FIVE).tolist() == (UNIFORM + 5.0).tolist()
    assert add(FIVE, UNIFORM).tolist() == (UNIFORM + 5.0).tolist()
    assert add(FIVE, FIVE)[:, 0].tolist() == [10.0] * len(LEVELS)


def test_the_sum_of_two_uniforms_is_triangular() -> None:
    """On [0, 200] with q(p) = 100 sqrt(2 p) up to the middle, and its mirror image above."""
    exact = [100 * math.sqrt(2 * p) if p <= 0.5 else 200 - 100 * math.sqrt(2 * (1 - p)) for p in LEVELS]
    found = add(UNIFORM, UNIFORM)[:, 0]
    assert found[2:8] == pytest.approx(exact[2:8], rel=0.02)
    assert found == pytest.approx(exact, abs=3.0)


def test_a_sum_of_skewed_times_matches_draws_and_is_no_sum_of_percentiles() -> None:
    draws = np.random.default_rng(0).lognormal(3.0, 0.5, (2, 400_000))
    a, b = (np.quantile(d, LEVELS)[:, None] for d in draws)
    found, exact = add(a, b)[:, 0], np.quantile(draws.sum(axis=0), LEVELS)
    assert found == pytest.approx(exact, rel=0.06)
    assert found[:8] == pytest.approx(exact[:8], rel=0.03)
    assert found[-1] < 0.95 * (a + b)[-1, 0]


def test_sums_do_not_depend_on_the_order_or_on_their_neighbours() -> None:
    rng = np.random.default_rng(1)
    a, b = (np.sort(rng.exponential(10.0, (len(LEVELS), 5000)), axis=0) for _ in range(2))
    together = add(a, b)
    assert together == pytest.approx(add(b, a))
    assert together[:, 4321] == pytest.approx(add(a[:, 4321:4322], b[:, 4321:4322])[:, 0])
    assert (np.diff(together, axis=0) >= 0).all()


def test_deviation_of_a_uniform_and_of_a_constant() -> None:
    assert deviation(UNIFORM)[0] == pytest.approx(100 / math.sqrt(12), rel=0.01)
    assert deviation(FIVE).tolist() == [0.0]


@pytest.mark.parametrize(
    ("within_ms", "expected"),
    [(-1.0, 0.0), (0.9, 0.0), (1.0, 0.01), (3.0, 0.03), (50.0, 0.5), (62.5, 0.625), (99.9, 0.999), (1e9, 0.999)],
)
def test_probability_is_linear_between_levels_and_never_one(within_ms: float, expected: float) -> None:
    assert probability(UNIFORM, within_ms).tolist() == [pytest.approx(expected)]
    assert probability_of(UNIFORM[:, 0].tolist(), within_ms) == pytest.approx(expected)


def test_probability_jumps_over_equal_quantiles() -> None:
    times = [1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 7.0, 7.0, 7.0, 9.0]
    grid = np.array([times]).T
    for within_ms, expected in ((1.5, 0.03), (2.0, 0.75), (7.0, 0.99), (8.0, 0.9945)):
        assert probability(grid, within_ms)[0] == pytest.approx(expected)
        assert probability_of(times, within_ms) == pytest.approx(expected)
    assert probability(FIVE, 5.0).tolist() == [0.999]
    assert probability(FIVE, 4.999).tolist() == [0.0]


def test_one_distribution_agrees_with_many() -> None:
    rng = np.random.default_rng(2)
    grid = np.sort(rng.integers(0, 12, (len(LEVELS), 300)).astype(float), axis=0)
    for within_ms in (-0.5, 0.0, 3.0, 4.7, 11.0, 12.0):
        found = probability(grid, within_ms)
        assert found.tolist() == pytest.approx([probability_of(column, within_ms) for column in grid.T.tolist()])


def test_around_finds_measured_levels_exactly_and_mixes_the_others() -> None:
    assert around(95.0) == (7, 0.0)
    assert around(50.0) == (4, 0.0)
    assert around(96.0) == (8, pytest.approx(0.75))


def test_every_percentile_that_an_slo_may_name_is_covered() -> None:
    assert around(1.0) == (0, 0.0)
    assert around(99.9) == (len(LEVELS) - 1, 0.0)


def test_no_wait_leaves_the_measured_shape() -> None:
    nothing = np.zeros(1)
    wider = stretch(deviation(UNIFORM), nothing)
    assert wider.tolist() == [0.0]
    assert delay(UNIFORM, NORMAL[:, None], nothing, wider).tolist() == UNIFORM.tolist()


def test_a_wait_before_a_constant_service_is_normal() -> None:
    wider = stretch(deviation(FIVE), np.array([4.0]))
    delayed = delay(FIVE, NORMAL[:, None], np.array([10.0]), wider)[:, 0]
    assert delayed == pytest.approx([15 + 2 * NormalDist().inv_cdf(p) for p in LEVELS])


def test_a_wait_adds_its_mean_and_variance() -> None:
    """s = 3 and v = 16 make a deviation of 5: the wait widens it by 2."""
    wider = stretch(np.array([3.0]), np.array([16.0]))
    assert wider.tolist() == [2.0]
    assert delay(np.array([20.0]), 1.0, np.array([7.0]), wider).tolist() == [29.0]


def test_a_wait_never_makes_anything_earlier() -> None:
    assert delay(np.array([20.0]), -3.0, np.array([1.0]), np.array([2.0])).tolist() == [20.0]


def test_a_mix_of_one_level_alone_is_its_quantile_exactly() -> None:
    """Thirds do not add up in floats; what no score moves is read without a rounding."""
    grid = np.arange(len(LEVELS))[:, None] / 3.0 + np.array([0.1, 0.7])
    low, share, tail = bracket(NORMAL[:, None] + np.zeros(2))
    assert tail is None
    assert mix(grid, np.array([0, 1]), low, 1.0 - share, share).tolist() == grid.tolist()


def test_a_mix_goes_in_a_line_between_scores_and_as_a_lognormal_beyond_them() -> None:
    grid = np.array([[*range(10, 20)]], dtype=np.float64).T
    scores = np.array([(NORMAL[2] + NORMAL[3]) / 2, NORMAL[-1] + 1.0, NORMAL[0] - 1.0])
    low, share, tail = bracket(scores)
    found = mix(grid, np.zeros(3, dtype=np.intp), low, (1.0 - share) * tail, share * tail)
    assert found.tolist() == pytest.approx([12.5, 19.0 * math.exp(TAIL), 10.0 * math.exp(-TAIL)])
