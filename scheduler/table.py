"""What a task's placements take and cost in every start state, compiled to arrays once per catalogue snapshot.

Columns follow the layout's order of the task's measured placements. The three start states are rows of one stacked
array: state s of placement i is row s × placements + i.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from registry.catalogue import Catalogue
from registry.model import LEVELS, Placement, Price, ServiceTime
from scheduler.layout import Layout, Span, layout_of
from scheduler.quantiles import Floats, add, deviation

RESIDENT, LOAD, COLD = 0, 1, 2
"""Start states: variant resident; environment warm but variant to be loaded; no environment warm."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """A task's placements for one batch size; the first three are stacked by start state."""

    grid: Floats
    """Finish times (ms) without any wait, [3 × placements, levels]."""
    deviation: Floats
    """Their standard deviations (ms)."""
    cost: Floats
    """Expected US dollars for the invocation."""
    fits: NDArray[np.bool_]
    """Whether the placement takes a batch of this size."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The compiled facts of one task."""

    task: str
    layout: Layout
    span: Span
    placements: tuple[Placement, ...]
    accuracy: Floats
    tiers: NDArray[np.intp]
    """Tier number of each placement."""
    cold_rows: NDArray[np.intp]
    """Row of each placement's COLD state."""
    max_batch: NDArray[np.intp]
    sizes: Floats
    """Measured batch sizes, [placements, most sizes], padded with infinity; two or more for each placement."""
    times: Floats
    """Finish times at the measured sizes, [placements, most sizes, 3, levels]."""
    billed_ms: Floats
    """Mean billed duration at the measured sizes, variant resident, [placements, most sizes]."""
    load_ms: Floats
    init_ms: Floats
    """Means of what a load and a start add."""
    prices: tuple[Price, ...]
    _batches: dict[int, Batch] = field(default_factory=dict)

    def batch(self, rows: int) -> Batch:
        """The columns for a batch of `rows`, made once per size.

        Between measured sizes quantiles and billed durations are interpolated linearly, and above the largest they are
        extrapolated along the last two, but never below the largest; below the smallest they are the smallest's. A
        single measured size grows in proportion to the rows.
        """
        # Nothing fits beyond the largest batch that any placement takes, so all such sizes share one entry.
        rows = min(rows, 1 + int(self.max_batch.max(initial=0)))
        found = self._batches.get(rows)
        if found is None:
            found = self._batches[rows] = self._interpolate(rows)
        return found

    def _interpolate(self, rows: int) -> Batch:
        every = np.arange(len(self.placements))
        known = np.isfinite(self.sizes).sum(axis=1)
        low = np.clip((self.sizes <= rows).sum(axis=1) - 1, 0, known - 2)
        x0, x1 = self.sizes[every, low], self.sizes[every, low + 1]
        share = np.maximum((rows - x0) / (x1 - x0), 0.0)
        grid = _between(self.times[every, low], self.times[every, low + 1], share[:, None, None])
        billed = _between(self.billed_ms[every, low], self.billed_ms[every, low + 1], share)
        stacked = np.maximum.accumulate(grid.transpose(1, 0, 2).reshape(-1, len(LEVELS)), axis=1)
        return Batch(stacked, deviation(stacked), self._costs(billed), rows <= self.max_batch)

    def _costs(self, billed: Floats) -> Floats:
        """`registry.prices.invocation_cost` in columns; a test holds the two equal."""
        busy, request, start, step = (
            np.array([getattr(price, name) for price in self.prices], dtype=np.float64)
            for name in ("usd_per_busy_s", "usd_per_request", "usd_per_start", "step_ms")
        )
        init = self.init_ms * np.array([price.bills_init for price in self.prices], dtype=np.float64)
        loaded = billed + self.load_ms
        durations = np.stack([billed, loaded, loaded + init])
        starts = np.stack([start * 0.0, start * 0.0, start])
        steps = np.ceil(np.round(durations / step, 6))
        return (request + starts + steps * step / 1000 * busy).ravel()


def _between(low: Floats, high: Floats, share: Floats) -> Floats:
    mixed = low * (1.0 - share) + high * share
    found: Floats = np.where(share > 1.0, np.maximum(mixed, high), mixed)
    return found


def table_of(catalogue: Catalogue, task: str) -> Table:
    """The table of a task, compiled once per snapshot; raises NotFound for an unknown task.

    Compiling sums distributions, which takes some 0.2 ms a placement; a caller that cannot wait asks for it beforehand.
    """
    return catalogue.derived((table_of, task), lambda snapshot: _compile(snapshot, task))


def _compile(catalogue: Catalogue, task: str) -> Table:
    catalogue.task(task)
    layout = layout_of(catalogue)
    span = layout.spans[task]
    placements = layout.placements[span.start : span.measured]
    profiles = [catalogue.profiles[p.id] for p in placements]
    services = [_at_two_sizes(profile.service) for profile in profiles]
    sizes, service, billed = _padded(services)
    load, init = _grid([p.load.ms for p in profiles]), _grid([p.init.ms for p in profiles])
    return Table(
        task=task,
        layout=layout,
        span=span,
        placements=placements,
        accuracy=np.array([catalogue.variants[p.variant].accuracy.value for p in placements], dtype=np.float64),
        tiers=layout.tier_of[span.start : span.measured],
        cold_rows=COLD * len(placements) + np.arange(len(placements)),
        max_batch=np.array([p.max_batch for p in placements], dtype=np.intp),
        sizes=sizes,
        times=_finish_times(service, load, init),
        billed_ms=billed,
        load_ms=np.array([p.load.mean for p in profiles], dtype=np.float64),
        init_ms=np.array([p.init.mean for p in profiles], dtype=np.float64),
        prices=tuple(catalogue.tiers[p.tier].price for p in placements),
    )


def _finish_times(service: Floats, load: Floats, init: Floats) -> Floats:
    """Service, load + service and init + load + service as independent steps, [placements, sizes, 3, levels]."""
    count, sizes, levels = service.shape
    flat = service.reshape(-1, levels)
    loaded = add(flat, np.repeat(load, sizes, axis=0))
    cold = add(flat, np.repeat(add(init, load), sizes, axis=0))
    return np.stack([flat, loaded, cold], axis=1).reshape(count, sizes, 3, levels)


def _padded(services: Sequence[Sequence[ServiceTime]]) -> tuple[Floats, Floats, Floats]:
    most = max(map(len, services), default=0)
    sizes = np.full((len(services), most), np.inf)
    times = np.zeros((len(services), most, len(LEVELS)))
    billed = np.zeros((len(services), most))
    for i, service in enumerate(services):
        sizes[i, : len(service)] = [s.rows for s in service]
        times[i, : len(service)] = [s.latency.ms for s in service]
        billed[i, : len(service)] = [s.billed_ms for s in service]
    return sizes, times, billed


def _at_two_sizes(service: Sequence[ServiceTime]) -> Sequence[ServiceTime]:
    if len(service) > 1:
        return service
    (only,) = service
    latency = only.latency
    doubled = type(latency)(tuple(2 * ms for ms in latency.ms), 2 * latency.mean)
    return only, ServiceTime(2 * only.rows, doubled, 2 * only.billed_ms)


def _grid(rows: Sequence[Sequence[float]]) -> Floats:
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(LEVELS))
