"""Compares an answer with its placement's profile and with what was predicted of it; believes nothing by itself."""

from __future__ import annotations

import math

from registry.model import LEVELS
from scheduler.beliefs import TierBeliefs
from scheduler.errors import FleetError
from scheduler.events import Measured
from scheduler.layout import Layout
from scheduler.table import LEAST_MS, table_of


def compared(beliefs: TierBeliefs, layout: Layout, placement: int, event: Measured) -> TierBeliefs:
    """A tier's beliefs after an answer of one of its placements, by the layout's number; raises FleetError.

    A warm and resident run says how fast the placement is; whatever was predicted says how good predictions are. A run
    that was given up on counts with the time until then where that alone is slow: who gives up early would else never
    learn that something became slow, and could make nobody believe that it became fast.
    """
    _check(event)
    if event.predicted_ms:
        task = layout.placements[placement].task
        beliefs = beliefs.predicted(task, event.predicted_ms, event.latency_ms, event.now, answered=event.answered)
    profiled = _profiled(layout, placement, event.rows)
    if event.service_ms is None or profiled is None:
        return beliefs
    median, spread = profiled
    ratio = math.log(max(event.service_ms, LEAST_MS) / median)
    if not event.answered and ratio <= beliefs.pace(event.placement).now(event.now):
        return beliefs  # that it took longer than this was expected of half of the runs
    return beliefs.served(event.placement, ratio, spread, event.now)


def _check(event: Measured) -> None:
    times = (event.latency_ms, *event.predicted_ms, event.service_ms or 0.0)
    if not all(0.0 <= ms < math.inf for ms in times) or not math.isfinite(event.now):
        raise FleetError(
            f"{event.placement!r} cannot have taken {event.latency_ms} ms, of it {event.service_ms} to run"
        )
    if event.rows < 1 or len(event.predicted_ms) not in (0, len(LEVELS)):
        raise FleetError(f"{event.placement!r} answered {event.rows} rows, {len(event.predicted_ms)} levels predicted")


def _profiled(layout: Layout, placement: int, rows: int) -> tuple[float, float] | None:
    """Median (ms) and relative spread of a placement's service; None where there is nothing to compare with."""
    task = layout.placements[placement].task
    span = layout.spans[task]
    if placement >= span.measured:
        return None
    return table_of(layout.catalogue, task).batch(rows).typical(placement - span.start)
