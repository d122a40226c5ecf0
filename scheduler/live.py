"""Beliefs as a decision reads them: one column for each placement and tier, and what they make of a table.

Pure arithmetic; what is believed, and why, is in `scheduler.beliefs`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scheduler.beliefs import TierBeliefs
from scheduler.coverage import FADES_S
from scheduler.layout import Layout
from scheduler.quantiles import NORMAL, Floats, around, bracket, delay, read
from scheduler.table import MEDIAN, Batch, Table

Wait = tuple[Floats, Floats]
"""Mean of each placement's wait for a slot, and by how much it widens the spread (ms)."""

FRESH_S = 3.0
"""For how long arrays are read as they are: beliefs fade by a hundredth meanwhile."""


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """Where distributions are read on each tier: between which levels, and by what their tails are stretched."""

    scores: Floats
    """Normal scores, [tiers] or [levels, tiers]; the other arrays have the same shape."""
    low: NDArray[np.intp]
    share: Floats
    tail: Floats | None

    @classmethod
    def at(cls, scores: Floats) -> Levels:
        """For these scores."""
        return cls(scores, *bracket(scores))

    def row(self, level: int) -> Levels:
        """For one of LEVELS."""
        tail = None if self.tail is None else self.tail[level]
        return Levels(self.scores[level], self.low[level], self.share[level], tail)

    def percentile(self, percentile: float) -> Levels:
        """For a percentile, mixed from the two of LEVELS around it."""
        high, share = around(percentile)
        if not share:
            return self.row(high)
        return Levels.at(self.scores[high] * (1.0 - share) + self.scores[high - 1] * share)


@dataclass(frozen=True, slots=True, eq=False)
class LiveColumns:
    """Every tier's beliefs in arrays, by the layout's numbers; the last three are as of a time."""

    pace: Floats
    """Log of live over profiled service, by placement."""
    paced_at: Floats
    """When (s) the last outcome said so."""
    margins: Floats
    """By how much each tier's normal scores are moved, [levels, tiers]."""
    margins_at: Floats
    as_of: float
    slower: Floats | None
    """By how many times its profiled service each placement takes longer; None when none does."""
    levels: Levels
    """For each of LEVELS."""

    def now(self, now: float) -> LiveColumns:
        """The same beliefs, faded until `now`, unless they are fresh."""
        if now - self.as_of <= FRESH_S:
            return self
        levels = _levels(self.margins, self.margins_at, now)
        return replace(self, as_of=now, slower=_slower(self.pace, self.paced_at, now), levels=levels)


def columns_of(layout: Layout, beliefs: Sequence[TierBeliefs], now: float) -> LiveColumns | None:
    """All tiers' beliefs in arrays; None while there are none."""
    if not any(tier.drifts or tier.at > -math.inf for tier in beliefs):
        return None
    paces = [beliefs[tier].pace(p.id) for p, tier in zip(layout.placements, layout.tier_of.tolist(), strict=True)]
    pace, paced_at = (
        np.array(column, dtype=np.float64) for column in zip(*((p.log, p.at) for p in paces), strict=True)
    )
    margins = np.array([tier.margins for tier in beliefs], dtype=np.float64).T
    margins_at = np.array([tier.at for tier in beliefs], dtype=np.float64)
    levels = _levels(margins, margins_at, now)
    return LiveColumns(pace, paced_at, margins, margins_at, now, _slower(pace, paced_at, now), levels)


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
    tier = beliefs[number]
    margins, margins_at = columns.margins.copy(), columns.margins_at.copy()
    margins[:, number], margins_at[number] = tier.margins, tier.at
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
    return LiveColumns(pace, paced_at, margins, margins_at, as_of, slower, _levels(margins, margins_at, as_of))


def _slower(pace: Floats, paced_at: Floats, now: float) -> Floats | None:
    return np.expm1(pace * np.exp(np.minimum(paced_at - now, 0.0) / FADES_S)) if pace.any() else None


def _levels(margins: Floats, margins_at: Floats, now: float) -> Levels:
    return Levels.at(NORMAL[:, None] + margins * np.exp(np.minimum(margins_at - now, 0.0) / FADES_S))


@dataclass(frozen=True, slots=True, eq=False)
class Live:
    """Beliefs about one task's placements at one time."""

    table: Table
    slower: Floats | None
    levels: Levels

    def times(
        self,
        batch: Batch,
        columns: NDArray[np.intp],
        wait: Wait | None,
        levels: Levels,
        chosen: NDArray[np.intp] | None,
    ) -> Floats:
        """Finish times (ms) from now on, [placements] or [levels, placements], of some placements, or of all.

        `columns` and `wait` are of all placements.
        """
        tiers, stretched = self.table.tiers, self._stretched(batch, columns)
        if chosen is not None:
            tiers, columns = tiers.take(chosen), columns.take(chosen)
            stretched = None if stretched is None else stretched.take(chosen)
            wait = None if wait is None else (wait[0].take(chosen), wait[1].take(chosen))
        found = read(batch.grid, columns, levels.low.take(tiers, axis=-1), levels.share.take(tiers, axis=-1))
        if stretched is not None:
            found *= stretched
        if levels.tail is not None:
            found *= levels.tail.take(tiers, axis=-1)
        return found if wait is None else delay(found, levels.scores.take(tiers, axis=-1), *wait)

    def deviations(self, batch: Batch, columns: NDArray[np.intp]) -> Floats:
        """Standard deviations (ms) of the finish times without any wait."""
        profiled: Floats = batch.deviation.take(columns)
        stretched = self._stretched(batch, columns)
        return profiled if stretched is None else profiled * stretched

    def median(self, batch: Batch, columns: NDArray[np.intp], i: int) -> float:
        """Median finish time (ms) of one placement from now on without any wait, by its pace alone."""
        column = int(columns[i])
        slower = 0.0 if self.slower is None else float(self.slower[i])
        return float(batch.grid[MEDIAN, column]) * (1.0 + slower * float(batch.service[column]))

    def _stretched(self, batch: Batch, columns: NDArray[np.intp]) -> Floats | None:
        """Times that finish times are longer than profiled: by as much as service is, on service's part of them.

        One factor for all levels keeps quantiles in order; for a run that neither starts nor loads it is exact.
        """
        return None if self.slower is None else 1.0 + self.slower * batch.service.take(columns)

    def cost(self, batch: Batch, columns: NDArray[np.intp]) -> Floats:
        """Expected US dollars for the invocation."""
        if self.slower is None:
            return batch.cost.take(columns)
        return batch.live_cost(self.table.prices, columns, self.slower)


def live_of(columns: LiveColumns | None, table: Table, now: float) -> Live | None:
    """What is believed at `now` of a task's placements; None without any outcome."""
    if columns is None:
        return None
    columns = columns.now(now)
    slower = columns.slower
    return Live(table, None if slower is None else slower[table.span.start : table.span.measured], columns.levels)
