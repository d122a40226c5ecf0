"""What a task's placements take and cost in every start state, compiled to arrays once per catalogue snapshot.

Columns follow the layout's order of the task's measured placements. The four start states lie side by side in one
stacked array: state s of placement i is column s × placements + i.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from registry.catalogue import Catalogue
from registry.model import LEVELS, Placement, Price, Quantiles, ServiceTime
from scheduler.drift import IQR
from scheduler.layout import Layout, Span, layout_of
from scheduler.quantiles import Floats, add, deviation

RESIDENT, LOAD, COLD, RESTORED = 0, 1, 2, 3
"""Start states: variant resident; environment warm but variant to be loaded; no environment warm; no environment warm,
but a new one starts from a snapshot that holds the variant."""

STATES = 4

MEDIAN = LEVELS.index(0.5)

LOWER, UPPER = LEVELS.index(0.25), LEVELS.index(0.75)

LEAST_MS = 1e-6
"""A nanosecond: no run is shorter, and a logarithm needs something."""

ROUNDED = 5e-7
"""Steps by which a duration may be over a whole number of them: what `registry.prices.invocation_cost` rounds off."""

SIZES_KEPT = 128
"""Batch sizes whose columns a table keeps: twice the default largest batch, some 0.3 kB a placement each."""

SUMS_KEPT = 4096
"""Tasks whose sums of distributions are kept beyond a snapshot: the next one mostly has the same profiles, and where
accuracies are judged it comes within a minute."""

Measured = tuple[tuple[ServiceTime, ...], Quantiles, Quantiles]
"""Service, load and INIT of a placement."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """A task's placements for one batch size; all but the last two are stacked by start state."""

    grid: Floats
    """Finish times (ms) without any wait, [levels, 4 × placements]."""
    deviation: Floats
    """Their standard deviations (ms)."""
    service: Floats
    """The part of the median finish time that is service, at most 1."""
    cost: Floats
    """Expected US dollars for the invocation."""
    begun: Floats
    """Mean duration that is billed, in the price's steps, less ROUNDED: every step that it goes into is paid."""
    served: Floats
    """That of a resident run, [placements]."""
    fits: NDArray[np.bool_]
    """Whether the placement takes a batch of this size."""
    _typical: dict[int, tuple[float, float] | None] = field(default_factory=dict)

    def typical(self, placement: int) -> tuple[float, float] | None:
        """Median (ms) and relative spread of a placement's service; None where there is nothing to compare with."""
        if placement not in self._typical:
            lower, median, upper = (float(self.grid[level, placement]) for level in (LOWER, MEDIAN, UPPER))
            self._typical[placement] = None if lower < LEAST_MS else (median, math.log(upper / lower) / IQR)
        return self._typical[placement]

    def live_cost(self, prices: Prices, columns: NDArray[np.intp], slower: Floats) -> Floats:
        """`cost` of each placement's column when its service takes `slower` times itself longer than profiled."""
        steps = slower * self.served
        steps += self.begun.take(columns)
        cost: Floats = np.ceil(steps, out=steps)
        cost *= prices.step
        cost += prices.fixed.take(columns)
        return cost


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """The price models of a task's placements in columns."""

    fixed: Floats
    """US dollars for an invocation of no duration, stacked by start state."""
    step: Floats
    """US dollars for a step."""
    step_ms: Floats
    bills_init: NDArray[np.bool_]

    @classmethod
    def of(cls, prices: Sequence[Price]) -> Prices:
        """The columns of one price for each placement."""
        busy, request, start, step_ms = (
            np.array([getattr(price, name) for price in prices], dtype=np.float64)
            for name in ("usd_per_busy_s", "usd_per_request", "usd_per_start", "step_ms")
        )
        fixed = np.concatenate([request, request, request + start, request + start])
        bills_init = np.array([price.bills_init for price in prices], dtype=np.bool_)
        return cls(fixed, step_ms / 1000 * busy, step_ms, bills_init)


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
    columns: NDArray[np.intp]
    """Stacked column of each placement in each start state, [4, placements]."""
    max_batch: NDArray[np.intp]
    most_rows: int
    """The largest batch that any placement takes."""
    sizes: Floats
    """Measured batch sizes, [most sizes, placements], padded with infinity; two or more for each placement."""
    times: Floats
    """Finish times at the measured sizes, [levels, 4, most sizes, placements]."""
    billed_ms: Floats
    """Mean billed duration at the measured sizes, variant resident, [most sizes, placements]."""
    load_ms: Floats
    init_ms: Floats
    """Means of what a load and a start add."""
    memory_mb: Floats
    """Private memory of a resident copy."""
    prices: Prices
    _batches: dict[int, Batch] = field(default_factory=dict)

    def batch(self, rows: int) -> Batch:
        """The columns for a batch of `rows`, made once per size.

        Between measured sizes quantiles and billed durations are interpolated linearly, and above the largest they are
        extrapolated along the last two, but never below the largest; below the smallest they are the smallest's. A
        single measured size grows in proportion to the rows.
        """
        # Nothing fits beyond the largest batch that any placement takes, so all such sizes share one entry.
        rows = min(rows, 1 + self.most_rows)
        found = self._batches.get(rows)
        if found is None:
            if len(self._batches) >= SIZES_KEPT:
                self._batches.clear()
            found = self._batches[rows] = self._interpolate(rows)
        return found

    def _interpolate(self, rows: int) -> Batch:
        every = np.arange(len(self.placements))
        known = np.isfinite(self.sizes).sum(axis=0)
        low = np.clip((self.sizes <= rows).sum(axis=0) - 1, 0, known - 2)
        x0, x1 = self.sizes[low, every], self.sizes[low + 1, every]
        share = np.maximum((rows - x0) / (x1 - x0), 0.0)
        times = _between(self.times[:, :, low, every], self.times[:, :, low + 1, every], share)
        billed = _between(self.billed_ms[low, every], self.billed_ms[low + 1, every], share)
        grid = np.maximum.accumulate(times.reshape(len(LEVELS), -1), axis=0)
        durations = self._durations(billed)
        begun, served = durations - ROUNDED, durations[: len(every)]  # resident is the first of the start states
        cost = self.prices.fixed + np.ceil(begun) * np.tile(self.prices.step, STATES)
        share = _service_share(grid[MEDIAN])
        return Batch(grid, deviation(grid), share, cost, begun, served, rows <= self.max_batch)

    def _durations(self, billed: Floats) -> Floats:
        """What `registry.prices.invocation_cost` rounds up, in columns; a test holds the costs equal."""
        init = self.init_ms * self.prices.bills_init
        loaded = billed + self.load_ms
        return np.concatenate([billed, loaded, loaded + init, billed + init]) / np.tile(self.prices.step_ms, STATES)


def _service_share(medians: Floats) -> Floats:
    """Of stacked medians."""
    resident = np.tile(medians[: len(medians) // STATES], STATES)
    share: Floats = np.where(medians > resident, resident / np.where(medians > 0, medians, 1.0), 1.0)
    return share


def _between(low: Floats, high: Floats, share: Floats) -> Floats:
    mixed = low * (1.0 - share) + high * share
    found: Floats = np.where(share > 1.0, np.maximum(mixed, high), mixed)
    return found


def table_of(catalogue: Catalogue, task: str) -> Table:
    """The table of a task, compiled once per snapshot; raises NotFound for an unknown task.

    Compiling sums distributions, which takes some 0.2 ms a placement unless it was done for another snapshot; a caller
    that cannot wait asks for it beforehand.
    """
    return catalogue.derived((table_of, task), lambda snapshot: _compile(snapshot, task))


def _compile(catalogue: Catalogue, task: str) -> Table:
    catalogue.task(task)
    layout = layout_of(catalogue)
    span = layout.spans[task]
    placements = layout.placements[span.start : span.measured]
    profiles = [catalogue.profiles[p.id] for p in placements]
    sizes, times, billed = _summed(tuple((profile.service, profile.load, profile.init) for profile in profiles))
    return Table(
        task=task,
        layout=layout,
        span=span,
        placements=placements,
        accuracy=np.array([catalogue.variants[p.variant].accuracy.value for p in placements], dtype=np.float64),
        tiers=layout.tier_of[span.start : span.measured],
        columns=np.arange(STATES * len(placements)).reshape(STATES, -1),
        max_batch=np.array([p.max_batch for p in placements], dtype=np.intp),
        most_rows=max((p.max_batch for p in placements), default=0),
        sizes=sizes,
        times=times,
        billed_ms=billed,
        load_ms=np.array([p.load.mean for p in profiles], dtype=np.float64),
        init_ms=np.array([p.init.mean for p in profiles], dtype=np.float64),
        memory_mb=np.array([profile.memory_mb for profile in profiles], dtype=np.float64),
        prices=Prices.of([catalogue.tiers[p.tier].price for p in placements]),
    )


@lru_cache(SUMS_KEPT)
def _summed(measured: tuple[Measured, ...]) -> tuple[Floats, Floats, Floats]:
    """Sizes, finish times and billed durations of a task's placements, as a table has them; nobody changes them."""
    services = [_at_two_sizes(service) for service, _, _ in measured]
    sizes, service, billed = _padded(services)
    load, init = _grid([load.ms for _, load, _ in measured]), _grid([init.ms for _, _, init in measured])
    return sizes, _finish_times(service, load, init), billed


def _finish_times(service: Floats, load: Floats, init: Floats) -> Floats:
    """Service, load + service, init + load + service and init + service as independent steps.

    By start state: [levels, 4, sizes, placements].
    """
    flat = service.reshape(len(LEVELS), -1)
    sizes = service.shape[1]
    loaded = add(flat, np.tile(load, sizes))
    cold = add(flat, np.tile(add(init, load), sizes))
    restored = add(flat, np.tile(init, sizes))
    return np.stack([flat, loaded, cold, restored], axis=1).reshape(len(LEVELS), STATES, *service.shape[1:])


def _padded(services: Sequence[Sequence[ServiceTime]]) -> tuple[Floats, Floats, Floats]:
    most = max(map(len, services), default=0)
    sizes = np.full((most, len(services)), np.inf)
    times = np.zeros((len(LEVELS), most, len(services)))
    billed = np.zeros((most, len(services)))
    for i, service in enumerate(services):
        sizes[: len(service), i] = [s.rows for s in service]
        times[:, : len(service), i] = np.array([s.latency.ms for s in service]).T
        billed[: len(service), i] = [s.billed_ms for s in service]
    return sizes, times, billed


def _at_two_sizes(service: Sequence[ServiceTime]) -> Sequence[ServiceTime]:
    if len(service) > 1:
        return service
    (only,) = service
    latency = only.latency
    doubled = type(latency)(tuple(2 * ms for ms in latency.ms), 2 * latency.mean)
    return only, ServiceTime(2 * only.rows, doubled, 2 * only.billed_ms)


def _grid(distributions: Sequence[Sequence[float]]) -> Floats:
    return np.array(distributions, dtype=np.float64).reshape(-1, len(LEVELS)).T
