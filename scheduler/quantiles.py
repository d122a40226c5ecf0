"""Arithmetic on distributions that are known at the registry's quantile levels; pure, over arrays of any length.

A grid is an array [levels, distributions] of milliseconds at each of LEVELS, non-decreasing along the first axis.
Between two levels the quantile function is linear. Below the first level and above the last nothing was measured, so a
deadline before the first quantile counts as never met, and one after the last as met with the last level's probability
only: P never reaches 1.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from registry.model import LEVELS

Floats = NDArray[np.float64]

P = np.array(LEVELS)

SCORES: tuple[float, ...] = tuple(NormalDist().inv_cdf(level) for level in LEVELS)
"""Standard normal quantiles at LEVELS."""

NORMAL: Floats = np.array(SCORES)

TAIL = 0.5
"""How quantiles go on where nothing was measured, for a score beyond those of LEVELS: as a lognormal of this shape."""

WIDEST = 0.125
"""Widest probability that one atom of a sum stands for: 15 atoms, 225 pairs.

Against 10^6 draws of the sum of two lognormals every level is within 2 % for a shape of 0.3 and within 5 % for 0.5,
mostly above, since a straight line between two levels overstates a convex tail. Twice the atoms change little.
"""

CHUNK = 2048
"""Rows summed at once, to keep the pairs of a large catalogue within a few megabytes."""


def _cells() -> Floats:
    """Boundaries of the cells that the atoms stand for: 0, every level, 1, and cuts so that none exceeds WIDEST."""
    edges = [0.0, *LEVELS, 1.0]
    cut = [np.linspace(a, b, int(np.ceil((b - a) / WIDEST - 1e-9)) + 1)[:-1] for a, b in pairwise(edges)]
    return np.concatenate([*cut, [1.0]])


_EDGES = _cells()
WEIGHTS: Floats = np.diff(_EDGES)
_MIDDLES = (_EDGES[1:] + _EDGES[:-1]) / 2
# Column i is the quantile function that is 1 at level i only, so _TO_ATOMS @ grid is the atoms of every distribution.
_TO_ATOMS: Floats = np.stack([np.interp(_MIDDLES, P, unit) for unit in np.eye(len(P))], axis=1)
_PAIR_WEIGHTS: Floats = np.outer(WEIGHTS, WEIGHTS).ravel()
_TINY_MS = 1e-12
# Scores that part the intervals between levels, and how wide each is.
_INNER: Floats = NORMAL[1:-1]
_STEPS: Floats = np.diff(NORMAL)
_WIDTHS: list[float] = _STEPS.tolist()
# By the number of quantiles that a deadline reaches: the one below it, P up to there, and by how much P rises from it.
_BELOW = np.clip(np.arange(len(P) + 1) - 1, 0, len(P) - 2)
_FROM: Floats = np.concatenate([[0.0], P])
_RISE: Floats = np.concatenate([[0.0], np.diff(P), [0.0]])


def deviation(grid: Floats) -> Floats:
    """Standard deviation (ms) of each distribution of a grid, from its atoms; shape [distributions]."""
    atoms = _TO_ATOMS @ grid
    spread: Floats = np.sqrt(WEIGHTS @ (atoms - WEIGHTS @ atoms) ** 2)
    return spread


def add(a: Floats, b: Floats) -> Floats:
    """Grid of the sums of independent times, for two grids of one shape.

    Each distribution becomes atoms: cells of probability, bounded by the levels, with the quantile at the cell's
    middle. All pairs of atoms are added, weighted with the product of their probabilities, sorted, and read again at
    LEVELS, by linear interpolation between the middles of the pairs' cumulative weights. Adding a constant is exact.
    """
    total = a + b
    spread = np.flatnonzero((a[0] < a[-1]) & (b[0] < b[-1]))
    for start in range(0, len(spread), CHUNK):
        chosen = spread[start : start + CHUNK]
        total[:, chosen] = _add_spread(a[:, chosen], b[:, chosen])
    return total


def _add_spread(a: Floats, b: Floats) -> Floats:
    atoms_a, atoms_b = (_TO_ATOMS @ a).T, (_TO_ATOMS @ b).T
    pairs = (atoms_a[:, :, None] + atoms_b[:, None, :]).reshape(len(atoms_a), -1)
    order = np.argsort(pairs, axis=1, kind="stable")
    values = np.take_along_axis(pairs, order, axis=1)
    weights = _PAIR_WEIGHTS[order]
    positions = np.cumsum(weights, axis=1) - weights / 2
    return np.stack([_read(values, positions, level) for level in LEVELS])


def _read(values: Floats, positions: Floats, level: float) -> Floats:
    last = values.shape[1] - 1
    high = np.clip((positions < level).sum(axis=1), 1, last)[:, None]
    x0, x1 = np.take_along_axis(positions, high - 1, 1), np.take_along_axis(positions, high, 1)
    y0, y1 = np.take_along_axis(values, high - 1, 1), np.take_along_axis(values, high, 1)
    read: Floats = (y0 + (y1 - y0) * np.clip((level - x0) / (x1 - x0), 0.0, 1.0))[:, 0]
    return read


def stretch(deviations: Floats, wait_variance: Floats) -> Floats:
    """By how much (ms) an independent wait of this variance (ms²) widens each service's standard deviation."""
    wider: Floats = deviations * deviations
    wider += wait_variance
    np.sqrt(wider, out=wider)
    wider -= deviations
    return wider


def delay(times: Floats, z: Floats | float, wait_ms: Floats, stretches: Floats) -> Floats:
    """Quantiles (ms) of service after an independent wait of which only mean and variance are known.

    `times` are the service's quantiles at the levels whose standard normal quantiles are `z`; the other arrays have one
    entry for each distribution. Matches the first two moments and keeps the measured shape:
    q(p) + w + z(p) (sqrt(s² + v) − s), where s is the service's standard deviation, w and v the wait's mean and
    variance. Without a wait it is the measured quantile; after a constant service it is a normal wait. Never earlier
    than without the wait.
    """
    delayed: Floats = z * stretches
    delayed += wait_ms
    delayed += times
    return np.maximum(delayed, times, out=delayed)


def around(percentile: float) -> tuple[int, float]:
    """Index of the first of LEVELS at or above a percentile, and the share of the level before it in the mix.

    The percentile is from 1 to 99.9, as an SLO's is.
    """
    level = round(percentile / 100, 12)  # 99.9 / 100 is a little more than 0.999
    high = bisect_left(LEVELS, level)
    if LEVELS[high] == level:
        return high, 0.0
    return high, (LEVELS[high] - level) / (LEVELS[high] - LEVELS[high - 1])


def bracket(scores: Floats) -> tuple[NDArray[np.intp], Floats, Floats | None]:
    """Where to read grids at normal scores: the level below, the share of the one above, and a factor for the tails.

    The factor is None while every score is within those of LEVELS.
    """
    low = np.searchsorted(_INNER, scores, side="right")
    share = (scores - NORMAL.take(low)) / _STEPS.take(low)
    inside = np.minimum(np.maximum(share, 0.0), 1.0)
    beyond = (share - inside) * _STEPS.take(low)
    return low, inside, np.exp(TAIL * beyond) if beyond.any() else None


def brackets_of(scores: Sequence[float]) -> tuple[list[int], list[float], list[float]]:
    """`bracket` of a few ascending scores, without arrays: levels below, and the weights of two quantiles."""
    lows, below, above, low, last = [], [], [], 0, len(SCORES) - 2
    for score in scores:
        while low < last and SCORES[low + 1] <= score:
            low += 1
        step = _WIDTHS[low]
        share = (score - SCORES[low]) / step
        tail = 1.0
        if not 0.0 <= share <= 1.0:
            inside = 0.0 if share < 0.0 else 1.0
            tail, share = math.exp(TAIL * (share - inside) * step), inside
        lows.append(low)
        below.append((1.0 - share) * tail)
        above.append(share * tail)
    return lows, below, above


def mix(grid: Floats, columns: NDArray[np.intp], low: NDArray[np.intp], below: Floats, above: Floats) -> Floats:
    """Quantiles of some columns of a grid: those at the levels `low` times `below`, and the next ones times `above`.

    The last three have one shape, whose last axis is that of the columns.
    """
    flat, count = grid.reshape(-1), grid.shape[1]
    position = low * count
    position += columns
    found: Floats = flat.take(position)
    found *= below
    more = flat[count:].take(position)
    more *= above
    found += more
    return found


def probability(grid: Floats, within_ms: Floats | float) -> Floats:
    """P(time <= within_ms) of each distribution; 0 below its first quantile, LEVELS[-1] from its last on.

    There is one deadline for all, or one for each.
    """
    count = grid.shape[1]
    reached = np.add.reduce(grid <= within_ms, axis=0, dtype=np.intp)
    position = _BELOW.take(reached) * count + np.arange(count)
    flat = grid.reshape(-1)
    below_ms = flat.take(position)
    # Two quantiles are equal only where the deadline is outside of both, and there _RISE is 0.
    width = np.maximum(flat.take(position + count) - below_ms, _TINY_MS)
    found: Floats = _FROM.take(reached) + _RISE.take(reached) * ((within_ms - below_ms) / width)
    return found


def probability_of(times: Sequence[float], within_ms: float) -> float:
    """`probability` of one distribution, without arrays."""
    reached = bisect_right(times, within_ms)
    if reached == 0:
        return 0.0
    if reached == len(times):
        return LEVELS[-1]
    low_ms = times[reached - 1]
    share = (within_ms - low_ms) / (times[reached] - low_ms)
    return LEVELS[reached - 1] + (LEVELS[reached] - LEVELS[reached - 1]) * share
