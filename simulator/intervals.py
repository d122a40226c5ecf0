"""A median and how sure it is; it draws with the seed that it is given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES = 2000
"""Bootstrap resamples: the end points of a 95 % interval settle well below the third digit (Efron 1993, ch. 13)."""


def interval(samples: Sequence[float], *, seed: int = 0) -> tuple[float, float, float]:
    """Return (median, low, high): the median of `samples` and its 95 % percentile-bootstrap interval.

    Raises ValueError without samples. Same samples and seed, same interval.
    """
    if not len(samples):
        raise ValueError("an interval needs at least one sample")
    values = np.asarray(samples, dtype=np.float64)
    draws = np.random.default_rng(seed).integers(0, len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(np.median(values[draws], axis=1), (0.025, 0.975))
    return float(np.median(values)), float(low), float(high)
