"""Quantiles of measured times; never smooths, trims or extrapolates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from registry.model import LEVELS, Quantiles


def quantiles(samples_ms: Sequence[float]) -> Quantiles:
    """The distribution of some measured milliseconds at LEVELS, and their mean; raises ValueError without a sample.

    Levels between two samples are interpolated, median-unbiased whatever the distribution (Hyndman and Fan 1996,
    definition 8). What lies beyond the samples stays at the least or the largest one: n samples say nothing of a
    tail rarer than about 1/n, so with 40 of them the 99th percentile is the worst time seen, and it may be too low.
    """
    if not samples_ms:
        raise ValueError("no sample was measured")
    values = np.quantile(np.asarray(samples_ms, dtype=np.float64), LEVELS, method="median_unbiased")
    # Interpolation can lose the last bit of an order.
    ordered = np.maximum.accumulate(values)
    return Quantiles(tuple(float(v) for v in ordered), float(np.mean(samples_ms)))
