"""Measured times keep their order and their extremes."""

from __future__ import annotations

import numpy as np
import pytest

from optimizer.quantiles import quantiles
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
