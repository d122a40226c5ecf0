"""Beliefs as a decision reads them: one column for each placement and tier, and what they make of a table at a time.

Pure arithmetic; what is believed, and why, is in `scheduler.beliefs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from scheduler.beliefs import TierBeliefs
from scheduler.coverage import FADES_S
from scheduler.layout import Layout
from scheduler.quantiles import NORMAL, Floats, around, bracket, delay, read
from scheduler.table import Batch, Table

Wait = tuple[Floats, Floats]
"""Mean of each placement's wait for a slot, and by how much it widens the spread (ms)."""


@dataclass(frozen=True, slots=True, eq=False)
class LiveColumns:
    """Every tier's beliefs in arrays, by the layout's numbers."""

    pace: Floats
    """Log of live over profiled service, by placement."""
    paced_at: Floats
    """When (s) the last outcome said so."""
    any_pace: bool
    margins: Floats
    """By how much each tier's normal scores are moved, [levels, tiers]."""
    margins_at: Floats


def columns_of(layout: Layout, beliefs: Sequence[TierBeliefs]) -> LiveColumns | None:
    """All tiers' beliefs in arrays; None while there are none."""
    if not any(tier.drifts or tier.at > -np.inf for tier in beliefs):
        return None
    paces = [beliefs[int(tier)].pace(p.id) for p, tier in zip(layout.placements, layout.tier_of, strict=True)]
    pace = np.array([p.log for p in paces], dtype=np.float64)
    return LiveColumns(
        pace=pace,
        paced_at=np.array([p.at for p in paces], dtype=np.float64),
        any_pace=bool(pace.any()),
        margins=np.array([tier.margins for tier in beliefs], dtype=np.float64).reshape(-1, len(NORMAL)).T,
        margins_at=np.array([tier.at for tier in beliefs], dtype=np.float64),
    )


def with_tier(
    columns: LiveColumns | None, layout: Layout, beliefs: Sequence[TierBeliefs], number: int, placement: int
) -> LiveColumns | None:
    """The columns after one tier's beliefs changed by an outcome of one placement; `beliefs` are as they are now."""
    if columns is None:
        return columns_of(layout, beliefs)
    tier = beliefs[number]
    told = tier.pace(layout.placements[placement].id)
    pace, paced_at = columns.pace.copy(), columns.paced_at.copy()
    # Any new word about one placement is a word about all of its tier.
    touched = layout.of_tier[number].tolist() if told.log != pace[placement] else [placement]
    for i in touched:
        found = tier.pace(layout.placements[i].id)
        pace[i], paced_at[i] = found.log, found.at
    margins, margins_at = columns.margins.copy(), columns.margins_at.copy()
    margins[:, number], margins_at[number] = tier.margins, tier.at
    return LiveColumns(pace, paced_at, bool(pace.any()), margins, margins_at)


@dataclass(frozen=True, eq=False)
class Live:
    """Beliefs about one task's placements at one time."""

    table: Table
    slower: Floats | None
    """By how many times its profiled service each placement takes longer; None when none does."""
    margins: Floats
    """[levels, tiers]"""

    @cached_property
    def scores(self) -> Floats:
        """Normal scores at which each tier's finish times are read for each of LEVELS, [levels, tiers]."""
        return NORMAL[:, None] + self.margins

    def at_percentile(self, percentile: float) -> Floats:
        """The tiers' scores for a percentile, mixed from those of the two measured levels around it."""
        high, share = around(percentile)
        scores: Floats = NORMAL[high] + self.margins[high]
        if share:
            scores = scores * (1.0 - share) + (NORMAL[high - 1] + self.margins[high - 1]) * share
        return scores

    def times(
        self,
        batch: Batch,
        columns: NDArray[np.intp],
        wait: Wait | None,
        scores: Floats,
        chosen: NDArray[np.intp] | None,
    ) -> Floats:
        """Finish times (ms) from now on at the tiers' scores, [tiers] or [levels, tiers], of some or all placements.

        `columns` and `wait` are of all placements.
        """
        tiers = self.table.tiers
        services = self.table.columns[0]
        slower = self.slower
        if chosen is not None:
            tiers, columns, services = tiers.take(chosen), columns.take(chosen), chosen
            slower = None if slower is None else slower.take(chosen)
            wait = None if wait is None else (wait[0].take(chosen), wait[1].take(chosen))
        low, share, tail = bracket(scores)
        low, share = low.take(tiers, axis=-1), share.take(tiers, axis=-1)
        found = read(batch.grid, columns, low, share)
        if slower is not None:
            found = found + read(batch.grid, services, low, share) * slower
        if tail is not None:
            found = found * tail.take(tiers, axis=-1)
        return found if wait is None else delay(found, scores.take(tiers, axis=-1), *wait)

    def deviations(self, batch: Batch, columns: NDArray[np.intp]) -> Floats:
        """Standard deviations (ms) of the finish times without any wait."""
        profiled: Floats = batch.deviation.take(columns)
        if self.slower is None:
            return profiled
        return profiled + self.slower * batch.deviation[: len(self.slower)]

    def cost(self, batch: Batch, columns: NDArray[np.intp]) -> Floats:
        """Expected US dollars for the invocation."""
        if self.slower is None:
            return batch.cost.take(columns)
        return batch.live_cost(self.table.prices, columns, self.slower)


def live_of(columns: LiveColumns | None, table: Table, now: float) -> Live | None:
    """What is believed at `now` of a task's placements; None without any outcome."""
    if columns is None:
        return None
    slower = None
    if columns.any_pace:
        span = slice(table.span.start, table.span.measured)
        pace, age = columns.pace[span], np.minimum(columns.paced_at[span] - now, 0.0)
        if pace.any():
            slower = np.expm1(pace * np.exp(age / FADES_S))
    left = np.exp(np.minimum(columns.margins_at - now, 0.0) / FADES_S)
    return Live(table, slower, columns.margins * left)
