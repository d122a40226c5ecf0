"""What to expect of each placement now: finish time = queue + start-up + load + service, as a distribution.

The start state of a placement comes from the fleet, its finish time in that state from the task's table, and the wait
for a slot, where the tier has none, from the tier's backlog. Everything is a column over the task's measured
placements; only an Estimate that somebody asks for becomes a value of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from registry.model import Estimate
from scheduler.fleet import Fleet
from scheduler.quantiles import Floats, at_level, delay, probability
from scheduler.requests import Request
from scheduler.table import COLD, RESIDENT, Table


@dataclass(frozen=True, slots=True, eq=False)
class Outlook:
    """Expectations of every measured placement of a task for one request, in the table's order."""

    table: Table
    request: Request
    runnable: NDArray[np.bool_]
    """Takes the batch, and is neither failing, quarantined nor on a tier that is unavailable."""
    state_rows: NDArray[np.intp]
    """Row of each placement's start state in the table's stacked columns."""
    grid: Floats
    """Finish times from now on (ms), [placements, levels]."""
    latency_ms: Floats
    """Finish time at the SLO's percentile, since arrival."""
    cost: Floats
    wait_ms: Floats | None
    """Mean wait for a slot; None when no tier makes anybody wait."""

    def on_time(self, rows: slice | NDArray[np.intp] = slice(None)) -> Floats:
        """P(done by the deadline) of some placements; 1 without a deadline."""
        grid, deadline = self.grid[rows], self.request.slo.latency_ms
        if deadline is None:
            return np.ones(len(grid))
        return probability(grid, deadline - self.request.elapsed_ms)

    def estimate(self, i: int, broken: tuple[str, ...]) -> Estimate:
        """The expectations of one placement as a value."""
        accuracy, on_time = float(self.table.accuracy[i]), float(self.on_time(slice(i, i + 1))[0])
        state = int(self.state_rows[i]) // len(self.table.placements)
        return Estimate(
            placement=self.table.placements[i],
            latency_ms=float(self.latency_ms[i]),
            p50_ms=float(at_level(self.grid[i : i + 1], 0.5)[0]) + self.request.elapsed_ms,
            on_time=on_time,
            accuracy=accuracy,
            effective_accuracy=on_time * accuracy,
            cost_usd=float(self.cost[i]),
            cold=state == COLD,
            load=state != RESIDENT,
            wait_ms=0.0 if self.wait_ms is None else float(self.wait_ms[i]),
            broken=broken,
        )


def outlook(request: Request, table: Table, fleet: Fleet, now: float) -> Outlook:
    """What to expect of each measured placement of the request's task; `now` in seconds on the fleet's clock."""
    batch = table.batch(request.rows)
    rows, queued = _start_states(table, fleet, now)
    grid, wait_ms = batch.grid.take(rows, axis=0), None
    if queued is not None:
        wait_ms = np.where(queued, fleet.columns.wait_ms.take(table.tiers), 0.0)
        variance = np.where(queued, fleet.columns.wait_variance.take(table.tiers), 0.0)
        grid = delay(grid, batch.deviation.take(rows), wait_ms, variance)
    refused_until = fleet.columns.refused_until[table.span.start : table.span.measured]
    return Outlook(
        table=table,
        request=request,
        runnable=batch.fits & (refused_until <= now),
        state_rows=rows,
        grid=grid,
        latency_ms=at_level(grid, request.slo.percentile / 100.0) + request.elapsed_ms,
        cost=batch.cost.take(rows),
        wait_ms=wait_ms,
    )


def _start_states(table: Table, fleet: Fleet, now: float) -> tuple[NDArray[np.intp], NDArray[np.bool_] | None]:
    """The row of each placement's start state, and whether it must wait for a slot first.

    A free warm environment is used, one that holds the variant first; else a new one starts while the tier's
    concurrency allows it; else the request waits, and then finds the variant resident only if every ready environment
    holds it.
    """
    columns, span = fleet.columns, slice(table.span.start, table.span.measured)
    free = columns.free_until > now
    warm = free.take(table.tiers)
    resident = columns.resident_until[span] > now
    waiting = columns.full & ~free
    queued = None
    if waiting.any():
        queued = waiting.take(table.tiers)
        everywhere = columns.holders[span] >= np.maximum(columns.live, 1).take(table.tiers)
        resident = np.where(queued, everywhere, resident)
        warm = warm | queued
    better = warm.astype(np.intp) + (warm & resident)
    return table.cold_rows - len(table.placements) * better, queued
