"""Quantiles of measured times and how well they are known; never smooths, trims or extrapolates."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from registry.model import LEVELS, Quantiles

CONFIDENCE = 0.95


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


def relative_width(ordered_ms: Sequence[float], level: float) -> float:
    """The width of a quantile's 95 % interval as a share of its middle, from samples in ascending order.

    Infinite while there are too few samples for an interval: below 6 for the median, below 72 for the 95th percentile.
    """
    found = ranks(len(ordered_ms), level)
    if found is None:
        return math.inf
    low, high = ordered_ms[found[0] - 1], ordered_ms[found[1] - 1]
    return (high - low) / ((high + low) / 2) if high > low else 0.0


@functools.lru_cache(maxsize=4096)
def ranks(count: int, level: float, confidence: float = CONFIDENCE) -> tuple[int, int] | None:
    """The order statistics, counted from 1, between which a quantile lies with at least this confidence.

    Free of any distribution: the samples below the quantile are binomial (David & Nagaraja, Order Statistics, 2003,
    section 7.1; Hahn & Meeker, Statistical Intervals, 1991, section 5.2). Each side misses with at most half of what
    confidence leaves. None when so few samples have no such pair.
    """
    miss = (1.0 - confidence) / 2
    low, high, below = 0, None, 0.0
    for i in range(count):
        below += _binomial(i, count, level)
        # `below` is P(at most i samples lie below): with that chance the sample of rank i + 1 lies above the quantile.
        if below <= miss:
            low = i + 1
        if high is None and below >= 1.0 - miss:
            high = i + 1
    return (low, high) if low and high is not None else None


def _binomial(i: int, count: int, level: float) -> float:
    chosen = math.lgamma(count + 1) - math.lgamma(i + 1) - math.lgamma(count - i + 1)
    return math.exp(chosen + i * math.log(level) + (count - i) * math.log1p(-level))
