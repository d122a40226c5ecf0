"""What to expect of each placement now: finish time = queue + start-up + load + service, as a distribution.

The start state of a placement comes from the fleet, its finish time in that state from the task's table, and the wait
for a slot, where the tier has none, from the tier's backlog. What live outcomes say against the profiles scales the
service, and moves the level that is read (`scheduler.live`). Everything is a column over the task's measured
placements, and a whole distribution is looked up only where somebody asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from registry.model import Estimate
from scheduler.fleet import Fleet
from scheduler.live import EVERY, Live, Wait, live_of
from scheduler.quantiles import NORMAL, Floats, around, delay, probability, probability_of, stretch
from scheduler.requests import Request
from scheduler.table import COLD, LOAD, MEDIAN, RESIDENT, RESTORED, Batch, Table

_Z: list[float] = NORMAL.tolist()

SMALL = 32
"""Placements of a table that is read whole (`benchmarks.simulate`)."""


@dataclass(frozen=True, eq=False)
class Outlook:
    """Expectations of every measured placement of a task for one request, in the table's order."""

    table: Table
    batch: Batch
    request: Request
    columns: NDArray[np.intp]
    """Stacked column of each placement in its start state."""
    wait: Wait | None
    """None when nobody waits."""
    live: Live | None
    """None while there is nothing but profiles."""
    runnable: NDArray[np.bool_]
    """Takes the batch, and is neither failing, quarantined nor on a tier that is unavailable."""
    latency_ms: Floats
    """Finish time at the SLO's percentile, since arrival."""
    accuracy: Floats
    """As judged where answers have been judged, else as measured."""
    whole: Floats | None = None
    """All finish times (ms), [levels, placements], where the table is small."""

    @cached_property
    def cost(self) -> Floats:
        """Expected US dollars for each placement's invocation."""
        if self.live is None:
            return self.batch.cost.take(self.columns)
        return self.live.cost()

    def grid(self, chosen: NDArray[np.intp]) -> Floats:
        """Finish times from now on (ms) of some placements, [levels, chosen]."""
        if self.whole is not None:
            return self.whole.take(chosen, axis=1)
        return _grid(self.batch, self.columns, self.wait, self.live, chosen)

    def at_level(self, level: int, chosen: NDArray[np.intp]) -> Floats:
        """One row of `grid`, for a table that is not small."""
        if self.live is not None:
            return self.live.times(self.wait, level, chosen)
        times: Floats = self.batch.grid[level].take(self.columns.take(chosen))
        if self.wait is None:
            return times
        mean, stretches = self.wait
        return delay(times, _Z[level], mean.take(chosen), stretches.take(chosen))

    def effective_accuracy(self, chosen: NDArray[np.intp]) -> Floats:
        """P(done by the deadline) × accuracy of some placements; P is 1 without a deadline."""
        accuracy, deadline = self.accuracy.take(chosen), self.request.slo.latency_ms
        if deadline is None:
            return accuracy
        product: Floats = probability(self.grid(chosen), deadline - self.request.elapsed_ms) * accuracy
        return product

    def estimate(self, i: int, broken: tuple[str, ...]) -> Estimate:
        """The expectations of one placement as a value."""
        times = self._times(i)
        deadline, elapsed_ms = self.request.slo.latency_ms, self.request.elapsed_ms
        on_time = 1.0 if deadline is None else probability_of(times, deadline - elapsed_ms)
        accuracy = float(self.accuracy[i])
        state = int(self.columns[i]) // len(self.table.placements)
        return Estimate(
            placement=self.table.placements[i],
            latency_ms=float(self.latency_ms[i]),
            quantiles_ms=tuple(times),
            busy_ms=self._busy_ms(i),
            p50_ms=times[MEDIAN] + elapsed_ms,
            on_time=on_time,
            accuracy=accuracy,
            effective_accuracy=on_time * accuracy,
            cost_usd=float(self.cost[i]),
            cold=state in (COLD, RESTORED),
            load=state in (LOAD, COLD),
            wait_ms=0.0 if self.wait is None else float(self.wait[0][i]),
            broken=broken,
        )

    def _busy_ms(self, i: int) -> float:
        """Median of start, load and service; the margins, which stand for the queue too, are left out."""
        if self.live is not None:
            return self.live.median(i)
        return float(self.batch.grid[MEDIAN, self.columns[i]])

    def _times(self, i: int) -> list[float]:
        """`grid` of one placement, without arrays."""
        if self.whole is not None:
            return cast(list[float], self.whole[:, i].tolist())
        if self.live is not None:
            return self.grid(np.array([i])).ravel().tolist()
        times: list[float] = self.batch.grid[:, self.columns[i]].tolist()
        mean, wider = (0.0, 0.0) if self.wait is None else (float(self.wait[0][i]), float(self.wait[1][i]))
        if mean == wider == 0.0:
            return times
        return [max(ms + (mean + z * wider), ms) for ms, z in zip(times, _Z, strict=True)]


def outlook(request: Request, table: Table, fleet: Fleet, now: float) -> Outlook:
    """What to expect of each measured placement of the request's task; `now` in seconds on the fleet's clock."""
    batch = table.batch(request.rows)
    columns, free = _start(table, fleet, now)
    state, span = fleet.columns, table.span
    live = live_of(state.live, table, batch, columns, now)
    wait = None
    if state.any_full and np.count_nonzero(waits := state.full > free):
        deviations = batch.deviation.take(columns) if live is None else live.deviations()
        wait = _wait(table, state.wait * waits, deviations)
    # A small table is read whole, once: what a part of it would save, looking for the part costs.
    whole = _grid(batch, columns, wait, live, None) if len(columns) <= SMALL else None
    latency_ms = (
        _at_percentile(batch, columns, wait, live, request.slo.percentile)
        if whole is None
        else _row_at(whole, request.slo.percentile)
    )
    return Outlook(
        table=table,
        batch=batch,
        request=request,
        columns=columns,
        wait=wait,
        live=live,
        runnable=batch.fits & (state.refused_until[span.start : span.measured] <= now),
        latency_ms=latency_ms + request.elapsed_ms,
        accuracy=table.accuracy if state.accuracy is None else state.accuracy[span.start : span.measured],
        whole=whole,
    )


def _grid(
    batch: Batch, columns: NDArray[np.intp], wait: Wait | None, live: Live | None, chosen: NDArray[np.intp] | None
) -> Floats:
    """Finish times (ms) from now on of some placements, or of all, [levels, placements]."""
    if live is not None:
        return live.times(wait, EVERY, chosen)
    grid = batch.grid.take(columns if chosen is None else columns.take(chosen), axis=1)
    if wait is None:
        return grid
    mean, stretches = wait if chosen is None else (wait[0].take(chosen), wait[1].take(chosen))
    return delay(grid, NORMAL[:, None], mean, stretches)


def _row_at(grid: Floats, percentile: float) -> Floats:
    """One percentile of a whole grid, mixed as `_at_percentile` does."""
    high, share = around(percentile)
    times: Floats = grid[high]
    return times * (1.0 - share) + grid[high - 1] * share if share else times


def _at_percentile(
    batch: Batch, columns: NDArray[np.intp], wait: Wait | None, live: Live | None, percentile: float
) -> Floats:
    """Finish times (ms) from now on at one percentile, mixed from the two levels around it as a whole grid's are."""
    high, share = around(percentile)
    times = _at_level(batch, columns, wait, live, high)
    if share:
        times = times * (1.0 - share) + _at_level(batch, columns, wait, live, high - 1) * share
    return times


def _at_level(batch: Batch, columns: NDArray[np.intp], wait: Wait | None, live: Live | None, level: int) -> Floats:
    if live is not None:
        return live.times(wait, level)
    times: Floats = batch.grid[level].take(columns)
    return times if wait is None else delay(times, _Z[level], *wait)


def _start(table: Table, fleet: Fleet, now: float) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The stacked column of each placement's start state, and whether each tier has a free warm slot.

    A free warm environment is used, one that holds the variant first; else a new one starts while the tier's
    concurrency allows it; else the request waits, and then finds the variant resident only if every ready environment
    holds it.
    """
    state = fleet.columns
    free = state.free_until > now
    warm = (free | state.full).take(table.tiers)
    resident = state.resident_until[table.span.start : table.span.measured] > now
    loaded = np.where(resident, table.columns[RESIDENT], table.columns[LOAD])
    started = table.columns[COLD]
    if state.any_restored:
        restored = state.restored[table.span.start : table.span.measured]
        started = np.where(restored, table.columns[RESTORED], started)
    return np.where(warm, loaded, started), free


def _wait(table: Table, wait: Floats, deviations: Floats) -> Wait:
    """Each placement's wait, from each tier's mean and variance and the deviations of what follows it."""
    mean, variance = wait
    return mean.take(table.tiers), stretch(deviations, variance.take(table.tiers))
