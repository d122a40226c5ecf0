"""What answers of many tasks are worth where they are ready, and where nothing is kept for them, in columns; pure.

It is what decisions expect, seen for all tasks at once: paces are counted, margins and waits are not, as what is
planned now is met by who comes later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from registry.copies import scarce
from registry.model import LEVELS, Placement, StartMode
from scheduler.fleet import Fleet
from scheduler.quantiles import Floats, probability
from scheduler.requests import Request
from scheduler.table import COLD, LOAD, MEDIAN, RESIDENT, RESTORED, STATES, table_of

Ints = NDArray[np.intp]

PATIENCE_MS = 1000.0
"""For how long a caller without a deadline waits gladly: longer breaks the flow of thought (Nielsen, Usability
Engineering, 1993, section 5.5)."""


@dataclass(frozen=True, slots=True, eq=False)
class Prospects:
    """Every measured placement of some requests' tasks, one column each."""

    placements: tuple[Placement, ...]
    request: Ints
    """Number of the request."""
    tier: Ints
    """Number of the tier, by the layout."""
    memory_mb: Floats
    ready_usd: Floats
    """What an answer is worth, less what it costs, where the placement is ready."""
    kept_nothing_usd: Floats
    """The same where only what always runs is warm, and nothing is resident."""
    run_usd: Floats
    """What an answer costs where the placement is ready."""
    effort_usd: Floats
    """What it costs to make it ready, as things are now."""
    start_s: Floats
    """Median time from nothing kept to ready."""
    busy_s: Floats
    """Median service."""
    resident: NDArray[np.bool_]
    """Whether an environment of its tier holds its variant now."""


def prospects(fleet: Fleet, requests: Sequence[Request], now: float, worth_usd: float) -> Prospects:
    """The prospects of one typical request of each of some tasks; a right answer in time is worth `worth_usd`.

    An answer that breaks a bound on accuracy or cost is worth nothing. `now` is in seconds on the fleet's clock. Raises
    NotFound for an unknown task.
    """
    facts = _gathered(fleet, requests)
    states = _States(fleet, facts, now)
    whence = (np.full_like(states.nothing, RESIDENT), states.nothing)
    grids = [facts.grid[:, state, facts.column] * states.stretched(facts, state) for state in whence]
    ready, nothing = (
        _worth(facts, state, grid, states.runnable, worth_usd) for state, grid in zip(whence, grids, strict=True)
    )
    usd = facts.cost[RESIDENT, facts.column]
    return Prospects(
        placements=facts.placements,
        request=facts.request,
        tier=facts.tier,
        memory_mb=facts.memory_mb,
        ready_usd=ready,
        kept_nothing_usd=nothing,
        run_usd=usd,
        effort_usd=np.maximum(facts.cost[states.now, facts.column] - usd, 0.0),
        start_s=np.maximum(grids[1][MEDIAN] - grids[0][MEDIAN], 0.0) / 1000,
        busy_s=grids[0][MEDIAN] / 1000,
        resident=fleet.columns.holders[facts.number] > 0,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Facts:
    """What the tables of the requests' tasks say, side by side."""

    placements: tuple[Placement, ...]
    request: Ints
    tier: Ints
    number: Ints
    """By the layout."""
    column: Ints
    """0, 1, and so on."""
    grid: Floats
    """Finish times (ms), [levels, states, columns]."""
    cost: Floats
    """[states, columns]."""
    service: Floats
    """The part of the median finish time that is service, [states, columns]."""
    fits: NDArray[np.bool_]
    accuracy: Floats
    memory_mb: Floats
    deadline_ms: Floats
    least: Floats
    most_usd: Floats


def _gathered(fleet: Fleet, requests: Sequence[Request]) -> _Facts:
    tables = [table_of(fleet.layout.catalogue, request.task) for request in requests]
    batches = [table.batch(request.rows) for table, request in zip(tables, requests, strict=True)]
    counts = [len(table.placements) for table in tables]
    number = np.concatenate([np.arange(t.span.start, t.span.measured) for t in tables] or [np.zeros(0, dtype=np.intp)])
    empty = np.zeros((len(LEVELS), STATES, 0))
    judged = fleet.columns.accuracy
    slos = [request.slo for request in requests]

    def spread(values: Sequence[float]) -> Floats:
        return np.repeat(np.array(values, dtype=np.float64), counts)

    return _Facts(
        placements=tuple(placement for table in tables for placement in table.placements),
        request=np.repeat(np.arange(len(requests)), counts),
        tier=np.concatenate([*(table.tiers for table in tables), np.zeros(0, dtype=np.intp)]),
        number=number,
        column=np.arange(len(number)),
        grid=np.concatenate([*(b.grid.reshape(len(LEVELS), STATES, -1) for b in batches), empty], axis=2),
        cost=np.concatenate([*(b.cost.reshape(STATES, -1) for b in batches), empty[0]], axis=1),
        service=np.concatenate([*(b.service.reshape(STATES, -1) for b in batches), empty[0]], axis=1),
        fits=np.concatenate([*(b.fits for b in batches), np.zeros(0, dtype=np.bool_)]),
        accuracy=np.concatenate([*(t.accuracy for t in tables), empty[0, 0]]) if judged is None else judged[number],
        memory_mb=np.concatenate([*(t.memory_mb for t in tables), empty[0, 0]]),
        deadline_ms=spread([PATIENCE_MS if slo.latency_ms is None else slo.latency_ms for slo in slos]),
        least=spread([0.0 if slo.min_accuracy is None else slo.min_accuracy for slo in slos]),
        most_usd=spread([np.inf if slo.max_cost_usd is None else slo.max_cost_usd for slo in slos]),
    )


class _States:
    """The start state of each column: now, and with nothing kept."""

    def __init__(self, fleet: Fleet, facts: _Facts, now: float) -> None:
        columns = fleet.columns
        restored = columns.restored[facts.number]
        always = np.array([tier.start_mode is StartMode.ALWAYS for tier in fleet.layout.tiers], dtype=np.bool_)
        started = np.where(restored, RESTORED, COLD)
        self.nothing: Ints = np.where(always[facts.tier], LOAD, started)
        warm = ((columns.free_until > now) | columns.full)[facts.tier]
        loaded = np.where(columns.resident_until[facts.number] > now, RESIDENT, LOAD)
        self.now: Ints = np.where(warm, loaded, started)
        self.runnable = facts.fits & ((columns.refused_until[facts.number] <= now) | _only_absent(fleet, facts, now))
        slower = columns.live.slower_at(now) if columns.live is not None else None
        self._slower = None if slower is None else slower[facts.number]

    def stretched(self, facts: _Facts, state: Ints) -> Floats | float:
        """Times its profiled finish time that each column takes from a start state."""
        return 1.0 if self._slower is None else 1.0 + self._slower * facts.service[state, facts.column]


def _only_absent(fleet: Fleet, facts: _Facts, now: float) -> NDArray[np.bool_]:
    """Columns that would run if their tier had a copy, which is what is planned: it refuses until there is one."""
    found = np.zeros(len(facts.number), dtype=np.bool_)
    for number, (tier, state) in enumerate(zip(fleet.layout.tiers, fleet.tiers, strict=True)):
        if scarce(tier) and not state.live and now < state.unavailable_until < np.inf:
            found |= facts.tier == number
    placements, variants = fleet.layout.placements, fleet.quarantined
    for column in found.nonzero()[0].tolist():
        placement = placements[facts.number[column]]
        refusal = fleet.failing.get(placement.id)
        found[column] = placement.variant not in variants and (refusal is None or refusal.until <= now)
    return found


def _worth(facts: _Facts, state: Ints, grid: Floats, runnable: NDArray[np.bool_], worth_usd: float) -> Floats:
    """US dollars that an answer is worth, less its cost; 0 less its cost where it breaks a bound or cannot run."""
    cost = facts.cost[state, facts.column]
    holds = runnable & (facts.accuracy >= facts.least) & (cost <= facts.most_usd)
    right = probability(grid, facts.deadline_ms) * facts.accuracy
    found: Floats = np.where(holds, worth_usd * right, 0.0) - cost
    return found
