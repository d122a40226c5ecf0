"""Measured times keep their order and their extremes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from optimizer.quantiles import quantiles, ranks, relative_width
from registry.model import LEVELS


def test_one_sample_is_every_quantile() -> None:
    assert quantiles([3.5]).ms == (3.5,) * len(LEVELS)


def test_levels_beyond_the_samples_stay_at_the_extremes() -> None:
    q = quantiles([5.0, 1.0, 3.0, 2.0, 4.0])
    assert q.ms[0] == 1.0
    assert q.ms[LEVELS.index(0.50)] == 3.0
    assert q.ms[LEVELS.index(0.99)] == q.ms[-1] == 5.0
    assert q.mean == 3.0


def test_many_samples_find_the_distribution_in_any_order() -> None:
    samples = np.random.default_rng(0).permutation(np.linspace(0.0, 100.0, 10_001))
    assert quantiles(samples.tolist()).ms == pytest.approx([100 * level for level in LEVELS], abs=0.02)


def test_no_sample_is_no_distribution() -> None:
    with pytest.raises(ValueError, match="no sample"):
        quantiles([])


@pytest.mark.parametrize(
    ("count", "level", "found"),
    [
        # Hahn & Meeker (1991), table A.16: the median of 100 samples lies between ranks 40 and 61.
        (100, 0.5, (40, 61)),
        (6, 0.5, (1, 6)),
        (5, 0.5, None),
        (72, 0.95, (64, 72)),
        (71, 0.95, None),
        (0, 0.5, None),
    ],
)
def test_ranks(count: int, level: float, found: tuple[int, int] | None) -> None:
    assert ranks(count, level) == found


@pytest.mark.parametrize(("count", "level"), [(30, 0.5), (100, 0.95), (400, 0.95)])
def test_the_interval_holds_the_quantile_as_often_as_it_says(count: int, level: float) -> None:
    found = ranks(count, level)
    assert found is not None
    draws = np.sort(np.random.default_rng(0).random((20_000, count)), axis=1)
    held = np.mean((draws[:, found[0] - 1] < level) & (level < draws[:, found[1] - 1]))
    # Ranks are whole, so it may hold a little more often.
    assert 0.945 <= held <= 0.99


def test_relative_width() -> None:
    assert relative_width([2.0] * 6, 0.5) == 0.0
    assert relative_width([1.0, 2.0, 2.0, 2.0, 2.0, 3.0], 0.5) == pytest.approx(1.0)
    assert relative_width([2.0] * 5, 0.5) == math.inf
    assert relative_width([0.0] * 10, 0.5) == 0.0
