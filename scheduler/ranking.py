"""The one order that ranks placements; it knows expectations and bounds, and nothing of how they came about.

First comes how far a placement breaks the SLO's bounds (the sum of its relative excesses, 0 when it holds them all),
then the objective, then cost, latency and id. So whatever holds every bound is ahead, and what is served when nothing
does is what breaks them least. A request that brings a number is spread over those that are as good as the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import overload

import numpy as np
from numpy.typing import NDArray

from registry.model import LEVELS, Estimate, Objective
from scheduler.estimate import Outlook
from scheduler.quantiles import Floats, around
from scheduler.spreading import spread

FEW = 32
"""With no more candidates than this, dropping some first costs more than it saves (benchmarks.decision)."""

SURE = LEVELS.index(0.95)
"""Index of a level high enough to drop most of what competes at a low percentile."""

ROUNDING = 1.0 - 1e-9
"""Keeps a candidate that only the rounding of floats would drop."""

SMALLEST_BOUND = 1e-9
"""A bound of 0, or next to it, is broken by any excess; this keeps the relative excess finite."""


class Ranking(Sequence[Estimate]):
    """The runnable placements as estimates, best first; sorted only when more than the first is looked at."""

    def __init__(self, outlook: Outlook) -> None:
        self.outlook = outlook
        held = _holds(outlook).nonzero()[0]
        self.held = len(held)
        """How many placements hold every bound."""
        candidates = _contenders(outlook, held) if self.held else _least_broken(outlook)
        self._first = _best(outlook, candidates) if len(candidates) else None
        uniform = outlook.request.uniform
        if uniform is not None and self._first is not None and self.held > 1:
            self._first = spread(outlook, held, self._first, uniform)
        self._made: dict[int, Estimate] = {}

    def __len__(self) -> int:
        return int(np.count_nonzero(self.outlook.runnable))

    @overload
    def __getitem__(self, index: int) -> Estimate: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Estimate]: ...
    def __getitem__(self, index: int | slice) -> Estimate | Sequence[Estimate]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        if index == 0 and self._first is not None:
            return self._estimate(self._first)
        return self._estimate(int(self._order[index]))

    @cached_property
    def _order(self) -> NDArray[np.intp]:
        """The runnable placements in order; the sort is stable, and the table is ordered by id."""
        view = self.outlook
        runnable = view.runnable.nonzero()[0]
        columns = (view.latency_ms[runnable], view.cost[runnable], _value(view, runnable), _excess(view)[runnable])
        order = runnable[np.lexsort(columns)]
        if view.request.uniform is None or self._first is None:
            return order
        return np.concatenate(([self._first], order[order != self._first]))

    def _estimate(self, i: int) -> Estimate:
        found = self._made.get(i)
        if found is None:
            broken = () if self.held and i == self._first else self._broken(i)
            found = self._made[i] = self.outlook.estimate(i, broken)
        return found

    def _broken(self, i: int) -> tuple[str, ...]:
        slo, view = self.outlook.request.slo, self.outlook
        checks = (
            ("latency_ms", slo.latency_ms is not None and view.latency_ms[i] > slo.latency_ms),
            ("min_accuracy", slo.min_accuracy is not None and view.accuracy[i] < slo.min_accuracy),
            ("max_cost_usd", slo.max_cost_usd is not None and view.cost[i] > slo.max_cost_usd),
        )
        return tuple(name for name, breaks in checks if breaks)


def _holds(view: Outlook) -> NDArray[np.bool_]:
    """Whether each placement can run and holds every bound."""
    slo, holds = view.request.slo, view.runnable
    if slo.latency_ms is not None:
        holds = holds & (view.latency_ms <= slo.latency_ms)
    if slo.min_accuracy is not None:
        holds = holds & (view.accuracy >= slo.min_accuracy)
    if slo.max_cost_usd is not None:
        holds = holds & (view.cost <= slo.max_cost_usd)
    return holds


def _excess(view: Outlook) -> Floats:
    """Sum over the bounds of how far each placement is beyond them, relative to the bound."""
    slo, total = view.request.slo, np.zeros(len(view.runnable))
    if slo.latency_ms is not None:
        total += np.maximum(view.latency_ms - slo.latency_ms, 0.0) / max(slo.latency_ms, SMALLEST_BOUND)
    if slo.min_accuracy is not None:
        total += np.maximum(slo.min_accuracy - view.accuracy, 0.0) / max(slo.min_accuracy, SMALLEST_BOUND)
    if slo.max_cost_usd is not None:
        total += np.maximum(view.cost - slo.max_cost_usd, 0.0) / max(slo.max_cost_usd, SMALLEST_BOUND)
    return total


def _value(view: Outlook, chosen: NDArray[np.intp]) -> Floats:
    """What the objective minimises, for some placements."""
    objective = view.request.slo.objective
    if objective is Objective.COST:
        return view.cost.take(chosen)
    if objective is Objective.LATENCY:
        return view.latency_ms.take(chosen)
    return -view.effective_accuracy(chosen)


def _least_broken(view: Outlook) -> NDArray[np.intp]:
    runnable = view.runnable.nonzero()[0]
    return _least(_excess(view).take(runnable), runnable) if len(runnable) else runnable


def _best(view: Outlook, candidates: NDArray[np.intp]) -> int:
    """The first of some placements that break the bounds equally, in the ranking's order."""
    if len(candidates) > 1:
        candidates = _least(_value(view, candidates), candidates)
    if len(candidates) > 1:
        candidates = _least(view.cost.take(candidates), candidates)
    if len(candidates) > 1:
        candidates = _least(view.latency_ms.take(candidates), candidates)
    return int(candidates[0])


def _contenders(view: Outlook, held: NDArray[np.intp]) -> NDArray[np.intp]:
    """Of placements that hold every bound, drop what cannot have the highest effective accuracy; looks up no P.

    Whatever holds the latency bound is on time with the probability of the level at or below the percentile at least,
    whatever is done by the deadline at level SURE with that one, and everything with LEVELS[-1] at most. So something
    less accurate than the best of these by more than the ratio of the two probabilities loses to it.
    """
    slo = view.request.slo
    if len(held) <= FEW or slo.objective is not Objective.ACCURACY or slo.latency_ms is None:
        return held
    high, share = around(slo.percentile)
    level = LEVELS[high - 1 if share else high]
    accuracy = view.accuracy.take(held)
    floor = level * float(accuracy.max())
    if level < LEVELS[SURE - 1]:  # one level below drops nearly as many without looking again
        surely = accuracy[view.at_level(SURE, held) <= slo.latency_ms - view.request.elapsed_ms]
        floor = max(floor, LEVELS[SURE] * float(surely.max(initial=0.0)))
    contenders: NDArray[np.intp] = held[accuracy >= floor / LEVELS[-1] * ROUNDING]
    return contenders


def _least(values: Floats, candidates: NDArray[np.intp]) -> NDArray[np.intp]:
    least: NDArray[np.intp] = candidates[values == values.min()]
    return least
