"""The accuracy–latency–cost trade-off of a task as a Pareto set; it looks at facts only, never at the fleet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from registry.catalogue import Catalogue
from registry.model import LEVELS, Placement
from scheduler.quantiles import Floats
from scheduler.table import RESIDENT, table_of

P95 = LEVELS.index(0.95)


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """A placement at its best: warm, variant resident, one row."""

    placement: Placement
    accuracy: float
    latency_ms: float
    """At the 95th percentile."""
    cost_usd: float
    dominated_by: tuple[str, ...]
    """Ids of the placements on the frontier that are no worse in all three and better in one, by id."""
    reason: str
    """Why it is on the frontier, or why it is not."""

    @property
    def dominated(self) -> bool:
        """Whether it is off the frontier."""
        return bool(self.dominated_by)


def frontier(task: str, catalogue: Catalogue) -> tuple[FrontierPoint, ...]:
    """Every measured placement of a task, fastest first, with who dominates it; raises NotFound for an unknown task.

    Worked out once per catalogue snapshot.
    """
    return catalogue.derived((frontier, task), lambda snapshot: _build(task, snapshot))


def _build(task: str, catalogue: Catalogue) -> tuple[FrontierPoint, ...]:
    table = table_of(catalogue, task)
    batch, columns = table.batch(1), table.columns[RESIDENT]
    latency, cost = batch.grid[P95].take(columns), batch.cost.take(columns)
    # All three to be minimised.
    goals = np.stack([-table.accuracy, latency, cost])
    survivors = np.array([i for i in range(goals.shape[1]) if not _dominators(goals, i).any()], dtype=np.intp)
    points = []
    for i in np.lexsort((np.arange(len(latency)), latency)).tolist():
        by = survivors[_dominators(goals[:, survivors], goals[:, i])]
        points.append(
            FrontierPoint(
                placement=table.placements[i],
                accuracy=float(table.accuracy[i]),
                latency_ms=float(latency[i]),
                cost_usd=float(cost[i]),
                dominated_by=tuple(table.placements[j].id for j in by.tolist()),
                reason=_why_off(goals, i, by.tolist(), table.placements) if len(by) else _why_on(goals, i),
            )
        )
    return tuple(points)


def _dominators(goals: Floats, point: int | Floats) -> NDArray[np.bool_]:
    """Which columns are no worse than a point in every goal and better in one."""
    mine = goals[:, point] if isinstance(point, int) else point
    no_worse, better = np.all(goals <= mine[:, None], axis=0), np.any(goals < mine[:, None], axis=0)
    dominators: NDArray[np.bool_] = np.logical_and(no_worse, better)
    return dominators


def _why_on(goals: Floats, i: int) -> str:
    names = ("most accurate", "fastest", "cheapest")
    best = [name for name, goal in zip(names, goals, strict=True) if goal[i] == goal.min()]
    if best:
        return f"the {' and '.join(best)}"
    return f"the most accurate of those within {goals[1, i]:.3g} ms and ${goals[2, i]:.3g}"


def _why_off(goals: Floats, i: int, by: list[int], placements: tuple[Placement, ...]) -> str:
    rival = by[0]
    words = ("more accurate", "faster", "cheaper")
    better = [word for word, goal in zip(words, goals, strict=True) if goal[rival] < goal[i]]
    rest = "" if len(better) == len(words) else ", and no worse otherwise"
    return f"{placements[rival].id} is {' and '.join(better)}{rest}"
