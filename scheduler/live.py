"""Beliefs as a decision reads them: a column for each placement, and for each tier and task; what they make of a table.

Pure arithmetic; what is believed, and why, is in `scheduler.beliefs`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from scheduler.beliefs import Moved, TierBeliefs
from scheduler.coverage import FADES_S
from scheduler.layout import Layout
from scheduler.quantiles import NORMAL, SCORES, Floats, bracket, brackets_of, delay, mix
from scheduler.table import MEDIAN, Batch, Table

Wait = tuple[Floats, Floats]
"""Mean of each placement's wait for a slot, and by how much it widens the spread (ms)."""

FRESH_S = 3.0
"""For how long arrays are read as they are: beliefs fade by a hundredth meanwhile."""


Pick = int | slice
"""Which of LEVELS to read: one or all."""

EVERY = slice(None)


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """Where distributions are read on each tier for each of LEVELS: a mix of two quantiles; arrays [levels, tiers]."""

    scores: Floats
    """Normal scores."""
    low: NDArray[np.intp]
    """The level below the score."""
    below: Floats
    """Weight of the quantile at that level, tails included."""
    above: Floats
    """Weight of the next."""

    @classmethod
    def at(cls, scores: Floats) -> Levels:
        """For these scores."""
        low, share, tail = bracket(scores)
        below = 1.0 - share
        return cls(scores, low, below, share) if tail is None else cls(scores, low, below * tail, share * tail)

    def with_tier(self, number: int, scores: Sequence[float]) -> Levels:
        """With other scores on one tier."""
        found = Levels(self.scores.copy(), self.low.copy(), self.below.copy(), self.above.copy())
        found.scores[:, number] = scores
        found.low[:, number], found.below[:, number], found.above[:, number] = brackets_of(scores)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class TaskLevels:
    """One task's margins on every tier, and where its distributions are read for them as of a time."""

    margins: Floats
    """By how much normal scores are moved, [levels, tiers]."""
    margins_at: Floats
    """When (s) the last outcome moved them."""
    as_of: float
    levels: Levels

    @classmethod
    def at(cls, margins: Floats, margins_at: Floats, as_of: float) -> TaskLevels:
        """These margins, faded until a time."""
        left = np.exp(np.minimum(margins_at - as_of, 0.0) / FADES_S)
        return cls(margins, margins_at, as_of, Levels.at(NORMAL[:, None] + margins * left))

    @classmethod
    def of(cls, moved: Sequence[Moved], as_of: float) -> TaskLevels:
        """What is believed of each tier."""
        margins = np.array([m.margins for m in moved], dtype=np.float64).T
        return cls.at(margins, np.array([m.at for m in moved], dtype=np.float64), as_of)

    def after(self, number: int, moved: Moved) -> TaskLevels:
        """After an outcome on one tier; while the other tiers' are fresh, they stay as they are."""
        margins, margins_at = self.margins.copy(), self.margins_at.copy()
        margins[:, number], margins_at[number] = moved.margins, moved.at
        if not 0.0 <= moved.at - self.as_of <= FRESH_S:
            return TaskLevels.at(margins, margins_at, max(self.as_of, moved.at))
        scores = [z + margin for z, margin in zip(SCORES, moved.margins, strict=True)]
        return TaskLevels(margins, margins_at, self.as_of, self.levels.with_tier(number, scores))

    def now(self, now: float) -> Levels:
        """Where to read at a time."""
        if now - self.as_of <= FRESH_S:
            return self.levels
        return TaskLevels.at(self.margins, self.margins_at, now).levels


@dataclass(frozen=True, slots=True, eq=False)
class LiveColumns:
    """Every tier's beliefs in arrays, by the layout's numbers."""

    pace: Floats
    """Log of live over profiled service, by placement."""
    paced_at: Floats
    """When (s) the last outcome said so."""
    as_of: float
    slower: Floats | None
    """By how many times its profiled service each placement takes longer, as of then; None when none does."""
    levels: Mapping[str, TaskLevels]
    """Of tasks with outcomes that were predicted; an outcome copies only its own task's."""

    def slower_at(self, now: float) -> Floats | None:
        """`slower` at a time, unless it is fresh."""
        return self.slower if now - self.as_of <= FRESH_S else _slower(self.pace, self.paced_at, now)


def columns_of(layout: Layout, beliefs: Sequence[TierBeliefs], now: float) -> LiveColumns | None:
    """All tiers' beliefs in arrays; None while there are none."""
    tasks = {task for tier in beliefs for task in tier.moved}
    if not tasks and not any(tier.drifts for tier in beliefs):
        return None
    paces = [beliefs[tier].pace(p.id) for p, tier in zip(layout.placements, layout.tier_of.tolist(), strict=True)]
    pace, paced_at = (
        np.array(column, dtype=np.float64) for column in zip(*((p.log, p.at) for p in paces), strict=True)
    )
    levels = {task: TaskLevels.of([tier.moved.get(task, Moved()) for tier in beliefs], now) for task in tasks}
    return LiveColumns(pace, paced_at, now, _slower(pace, paced_at, now), levels)


def with_tier(
    columns: LiveColumns | None,
    layout: Layout,
    beliefs: Sequence[TierBeliefs],
    placement: int,
    now: float,
    *,
    told: bool,
) -> LiveColumns | None:
    """The columns after an outcome of one placement, by the layout's number; `beliefs` are those after it.

    `told` says that there is news of the whole tier's paces.
    """
    if columns is None:
        return columns_of(layout, beliefs, now)
    number = int(layout.tier_of[placement])
    tier, task = beliefs[number], layout.placements[placement].task
    levels = columns.levels
    if task in tier.moved:
        known_levels = levels.get(task) or TaskLevels.of((Moved(),) * len(beliefs), now)
        levels = {**levels, task: known_levels.after(number, tier.moved[task])}
    pace, paced_at = columns.pace, columns.paced_at.copy()
    known = tier.pace(layout.placements[placement].id)
    paced_at[placement] = known.at
    if told:
        pace, touched = pace.copy(), layout.of_tier[number]
        paces = [tier.pace(layout.placements[i].id) for i in touched.tolist()]
        pace[touched], paced_at[touched] = [p.log for p in paces], [p.at for p in paces]
    as_of, slower = columns.as_of, columns.slower
    if told or now - as_of > FRESH_S:
        as_of, slower = now, _slower(pace, paced_at, now)
    elif slower is not None:
        slower = slower.copy()
        slower[placement] = math.expm1(known.now(as_of))
    return LiveColumns(pace, paced_at, as_of, slower, levels)


def _slower(pace: Floats, paced_at: Floats, now: float) -> Floats | None:
    return np.expm1(pace * np.exp(np.minimum(paced_at - now, 0.0) / FADES_S)) if pace.any() else None


@lru_cache(maxsize=8)  # a process follows one catalogue, or a few
def _unmoved(tiers: int) -> Levels:
    return Levels.at(np.repeat(NORMAL[:, None], tiers, axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class Live:
    """Beliefs about one task's placements at one time, for one batch size and start states."""

    table: Table
    batch: Batch
    columns: NDArray[np.intp]
    """Stacked column of each placement in its start state."""
    slower: Floats | None
    """By how many times its profiled service each placement takes longer; None when none does."""
    stretched: Floats | None
    """Times its profiled finish time that each placement takes: by as much longer as service is, on its part of it.

    One factor for all levels keeps quantiles in order; for a run that neither starts nor loads it is exact."""
    levels: Levels

    def times(self, wait: Wait | None, pick: Pick, chosen: NDArray[np.intp] | None = None) -> Floats:
        """Finish times (ms) from now on at one of LEVELS or all, [..., placements], of some placements, or of all.

        `wait` is of all placements.
        """
        tiers, columns, stretched = self.table.tiers, self.columns, self.stretched
        if chosen is not None:
            tiers, columns = tiers.take(chosen), columns.take(chosen)
            stretched = None if stretched is None else stretched.take(chosen)
            wait = None if wait is None else (wait[0].take(chosen), wait[1].take(chosen))
        told = self.levels
        low, below, above = told.low[pick], told.below[pick], told.above[pick]
        found = mix(
            self.batch.grid,
            columns,
            low.take(tiers, axis=-1),
            below.take(tiers, axis=-1),
            above.take(tiers, axis=-1),
        )
        if stretched is not None:
            found *= stretched
        return found if wait is None else delay(found, told.scores[pick].take(tiers, axis=-1), *wait)

    def deviations(self) -> Floats:
        """Standard deviations (ms) of the finish times without any wait."""
        profiled: Floats = self.batch.deviation.take(self.columns)
        return profiled if self.stretched is None else profiled * self.stretched

    def median(self, i: int) -> float:
        """Median finish time (ms) of one placement from now on without any wait, by its pace alone."""
        profiled = float(self.batch.grid[MEDIAN, self.columns[i]])
        return profiled if self.stretched is None else profiled * float(self.stretched[i])

    def cost(self) -> Floats:
        """Expected US dollars for the invocation."""
        if self.slower is None:
            return self.batch.cost.take(self.columns)
        return self.batch.live_cost(self.table.prices, self.columns, self.slower)


def live_of(
    known: LiveColumns | None, table: Table, batch: Batch, columns: NDArray[np.intp], now: float
) -> Live | None:
    """What is believed at `now` of a task's placements in these start states; None where that is nothing."""
    if known is None:
        return None
    slower, told = known.slower_at(now), known.levels.get(table.task)
    if slower is None and told is None:
        return None
    levels = _unmoved(len(table.layout.tiers)) if told is None else told.now(now)
    if slower is None:
        return Live(table, batch, columns, None, None, levels)
    slower = slower[table.span.start : table.span.measured]
    return Live(table, batch, columns, slower, 1.0 + slower * batch.service.take(columns), levels)
