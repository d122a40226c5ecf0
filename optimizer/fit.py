"""Service times over batch sizes: made monotone, and how well the sizes between foretell; measures nothing.

Between measured sizes the scheduler draws a straight line (`scheduler.table`), which these functions take as given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean, median

import numpy as np
from numpy.typing import NDArray

from optimizer.quantiles import quantiles
from registry.model import LEVELS, Quantiles, ServiceTime

Floats = NDArray[np.float64]

MEDIAN = LEVELS.index(0.5)


def service_times(cells: Mapping[int, tuple[Sequence[float], Sequence[float]]]) -> tuple[ServiceTime, ...]:
    """Service by ascending batch size, from measured and billed milliseconds of each; more rows never take less time.

    Where they were measured to, that is noise: each quantile, the mean and the billed mean become the non-decreasing
    sequence nearest to what was measured, weighted by samples.
    """
    sizes = sorted(cells)
    measured = [(quantiles(cells[rows][0]), fmean(cells[rows][1])) for rows in sizes]
    columns = np.array([(*q.ms, q.mean, billed) for q, billed in measured])
    weights = np.array([len(cells[rows][0]) for rows in sizes], dtype=np.float64)
    fitted = np.stack([monotone(column, weights) for column in columns.T], axis=1)
    # The same pools for all levels keep their order, but for the last bits of the means.
    fitted[:, : len(LEVELS)] = np.maximum.accumulate(fitted[:, : len(LEVELS)], axis=1)
    return tuple(
        ServiceTime(rows, Quantiles(tuple(times[: len(LEVELS)]), times[-2]), times[-1])
        for rows, times in zip(sizes, fitted.tolist(), strict=True)
    )


def monotone(values: Floats, weights: Floats) -> Floats:
    """The non-decreasing sequence with the least weighted squared distance to `values`.

    Neighbours that are out of order are pooled into their mean until none is (pool adjacent violators; Barlow et al.,
    Statistical Inference under Order Restrictions, 1972, section 1.2).
    """
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        pool = (value, weight, 1)
        while pools and pools[-1][0] > pool[0]:
            before = pools.pop()
            total = before[1] + pool[1]
            pool = ((before[0] * before[1] + pool[0] * pool[1]) / total, total, before[2] + pool[2])
        pools.append(pool)
    return np.repeat([mean for mean, _, _ in pools], [count for _, _, count in pools])


def batch_error(service: Sequence[ServiceTime]) -> float | None:
    """The median relative error of medians foreseen at sizes left out; None with fewer than three sizes."""
    errors = _left_out(service)
    return median(errors.values()) if errors else None


def size_to_add(service: Sequence[ServiceTime], error: float) -> int | None:
    """The middle of the gap that is foreseen worst; None when no size is off by more than `error`, or gaps are closed.

    A gap is as bad as the sizes at its ends together, when each of them is left out.
    """
    errors = _left_out(service)
    gaps = [
        (errors.get(a.rows, 0.0) + errors.get(b.rows, 0.0), (a.rows + b.rows) // 2)
        for a, b in pairwise(service)
        if b.rows - a.rows > 1 and max(errors.get(a.rows, 0.0), errors.get(b.rows, 0.0)) > error
    ]
    return max(gaps)[1] if gaps else None


def _left_out(service: Sequence[ServiceTime]) -> dict[int, float]:
    """By inner size: how far off the straight line between its neighbours is, relative to what was measured."""
    errors = {}
    for a, b, c in zip(service, service[1:], service[2:], strict=False):
        low, measured, high = (s.latency.ms[MEDIAN] for s in (a, b, c))
        foreseen = low + (high - low) * (b.rows - a.rows) / (c.rows - a.rows)
        errors[b.rows] = abs(foreseen - measured) / max(measured, 1e-9)
    return errors
