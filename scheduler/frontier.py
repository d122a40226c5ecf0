"""The accuracy–latency–cost trade-off of a task as a Pareto set; it looks at facts only, never at the fleet."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from registry.catalogue import Catalogue
from registry.model import LEVELS, Placement, Profile
from scheduler import table as states
from scheduler.quantiles import Floats
from scheduler.reasons import figure
from scheduler.table import table_of

P50, P95 = LEVELS.index(0.5), LEVELS.index(0.95)

NOTABLE = 1.2
"""Loads and memories that differ by less count as alike: an environment's figures differ by as much by themselves."""

LEAST_MS, LEAST_MB = 1.0, 1.0
"""Differences that nobody would feel, however large as a ratio."""


class Start(StrEnum):
    """What a request finds: the variant resident, a warm environment without it, or nothing at all."""

    RESIDENT = "resident"
    LOAD = "load"
    COLD = "cold"


_STATE = {Start.RESIDENT: states.RESIDENT, Start.LOAD: states.LOAD, Start.COLD: states.COLD}


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """A placement and what one request of it takes, from one start."""

    placement: Placement
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    """Limits of the 95 % interval."""
    latency_ms: float
    """At the 95th percentile, start included."""
    cost_usd: float
    """Of the request."""
    load_ms: float
    """Median of a load."""
    memory_mb: float
    """Private memory of a resident copy."""
    dominated_by: tuple[str, ...]
    """Ids of the placements on the frontier that are no worse in all three and better in one, by id."""
    reason: str
    """Why it is on the frontier, or why it is not and what speaks for it nevertheless."""

    @property
    def dominated(self) -> bool:
        """Whether it is off the frontier."""
        return bool(self.dominated_by)


def frontier(
    task: str, catalogue: Catalogue, *, rows: int = 1, start: Start = Start.RESIDENT, tier: str | None = None
) -> tuple[FrontierPoint, ...]:
    """Every measured placement of a task, fastest first, with who dominates it; raises NotFound for an unknown task.

    They compete over a batch of `rows` from one `start`, on every tier or on one; those that do not take so many rows
    are left out. For one row, resident, on every tier it is worked out once per catalogue snapshot.
    """
    if (rows, start, tier) == (1, Start.RESIDENT, None):
        return catalogue.derived((frontier, task), lambda snapshot: _build(task, snapshot, 1, start, None))
    return _build(task, catalogue, rows, start, tier)


def _build(task: str, catalogue: Catalogue, rows: int, start: Start, tier: str | None) -> tuple[FrontierPoint, ...]:
    table = table_of(catalogue, task)
    batch = table.batch(rows)
    on_tier = np.array([tier in (None, p.tier) for p in table.placements], dtype=np.bool_)
    competing = (batch.fits & on_tier).nonzero()[0]
    columns = table.columns[_STATE[start]].take(competing)
    latency, cost = batch.grid[P95].take(columns), batch.cost.take(columns)
    # All three to be minimised.
    goals = np.stack([-table.accuracy.take(competing), latency, cost])
    survivors = _survivors(goals)
    placements = tuple(table.placements[i] for i in competing.tolist())
    profiles = tuple(catalogue.profiles[p.id] for p in placements)
    points = []
    for i in np.lexsort((np.arange(len(latency)), latency)).tolist():
        by = survivors[_dominators(goals[:, survivors], goals[:, i])].tolist()
        accuracy, profile = catalogue.variants[placements[i].variant].accuracy, profiles[i]
        points.append(
            FrontierPoint(
                placement=placements[i],
                accuracy=accuracy.value,
                accuracy_low=accuracy.low,
                accuracy_high=accuracy.high,
                latency_ms=float(latency[i]),
                cost_usd=float(cost[i]),
                load_ms=profile.load.ms[P50],
                memory_mb=profile.memory_mb,
                dominated_by=tuple(placements[j].id for j in by),
                reason=_why_off(goals, i, by[0], placements, profiles) if by else _why_on(goals, i),
            )
        )
    return tuple(points)


def _survivors(goals: Floats) -> NDArray[np.intp]:
    """The columns that no other dominates, ascending.

    In lexicographic order whoever dominates comes first, and whoever is dominated is so by a survivor.
    """
    found: list[int] = []
    for i in np.lexsort(goals[::-1]).tolist():
        if not _dominators(goals[:, found], goals[:, i]).any():
            found.append(i)
    return np.array(sorted(found), dtype=np.intp)


def _dominators(goals: Floats, mine: Floats) -> NDArray[np.bool_]:
    """Which columns are no worse than a point in every goal and better in one."""
    no_worse, better = np.all(goals <= mine[:, None], axis=0), np.any(goals < mine[:, None], axis=0)
    dominators: NDArray[np.bool_] = np.logical_and(no_worse, better)
    return dominators


def _why_on(goals: Floats, i: int) -> str:
    names = ("most accurate", "fastest", "cheapest")
    best = [name for name, goal in zip(names, goals, strict=True) if goal[i] == goal.min()]
    if best:
        return f"the {' and '.join(best)}"
    return f"the most accurate of those within {figure(goals[1, i])} ms and ${figure(goals[2, i] * 1e6)} per million"


def _why_off(
    goals: Floats, i: int, rival: int, placements: tuple[Placement, ...], profiles: tuple[Profile, ...]
) -> str:
    words = ("more accurate", "faster", "cheaper")
    better = [word for word, goal in zip(words, goals, strict=True) if goal[rival] < goal[i]]
    rest = "" if len(better) == len(words) else ", and no worse otherwise"
    return f"{placements[rival].id} is {' and '.join(better)}{rest}{_nevertheless(profiles[i], profiles[rival])}"


def _nevertheless(mine: Profile, rival: Profile) -> str:
    """What a dominated placement does better outside the three goals; empty when there is nothing."""
    said = []
    load, other_load = mine.load.ms[P50], rival.load.ms[P50]
    if other_load >= max(NOTABLE * load, load + LEAST_MS):
        said.append(f"loads {figure(other_load / load, 2)}× faster" if load > 0 else "needs no load")
    memory, other_memory = mine.memory_mb, rival.memory_mb
    if other_memory >= max(NOTABLE * memory, memory + LEAST_MB):
        said.append(f"takes {figure(other_memory / memory, 2)}× less memory" if memory > 0 else "takes no memory")
    return f"; this one {' and '.join(said)}" if said else ""
