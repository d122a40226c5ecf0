"""Picks the placement that is best now; pure, and never asks anybody anything.

One order ranks everything: how far a placement breaks the SLO's bounds (the sum of its relative excesses, 0 when it
holds them all), then the objective, then cost, latency and id. So whatever holds every bound comes first, and what is
served when nothing does is what breaks them least.
"""

from __future__ import annotations

import numpy as np

from registry.catalogue import Catalogue
from registry.model import Objective, Slo
from scheduler.decision import Decision, Ranking
from scheduler.estimate import Outlook, outlook
from scheduler.fleet import Fleet
from scheduler.quantiles import Floats
from scheduler.requests import Request
from scheduler.table import table_of

SMALLEST_BOUND = 1e-9
"""A bound of 0 is broken by any excess; this keeps the relative excess finite."""


def choose(request: Request, catalogue: Catalogue, fleet: Fleet, now: float) -> Decision:
    """Rank the task's placements for this request, best first; `now` in seconds on the clock of the fleet's events.

    All three bounds bind under every objective. `accuracy` maximises effective accuracy, P(done by the deadline) ×
    accuracy (Zhang et al., Model-Switching, HotCloud 2020, section 3); `cost` takes the cheapest; `latency` the fastest
    at the SLO's percentile. A fleet of another catalogue snapshot is carried over first, so a caller that decides often
    does that itself. Raises NotFound for an unknown task.
    """
    table = table_of(catalogue, request.task)
    fleet = fleet.follow(catalogue)
    view = outlook(request, table, fleet, now)
    excess = _excess(view, request.slo)
    value = _value(view, request.slo.objective)
    first = _first(view, excess, value)
    ranking = Ranking(view, excess, value, first)
    feasible = first is not None and bool(excess[first] == 0.0)
    return Decision(request, catalogue.version, ranking, feasible, fleet, now)


def _excess(view: Outlook, slo: Slo) -> Floats:
    """Sum over the bounds of how far each placement is beyond them, relative to the bound; infinite if not runnable."""
    total = np.zeros(len(view.runnable))
    if slo.latency_ms is not None:
        total += np.maximum(view.latency_ms - slo.latency_ms, 0.0) / slo.latency_ms
    if slo.min_accuracy is not None:
        total += np.maximum(slo.min_accuracy - view.table.accuracy, 0.0) / max(slo.min_accuracy, SMALLEST_BOUND)
    if slo.max_cost_usd is not None:
        total += np.maximum(view.cost - slo.max_cost_usd, 0.0) / max(slo.max_cost_usd, SMALLEST_BOUND)
    total[~view.runnable] = np.inf
    return total


def _value(view: Outlook, objective: Objective) -> Floats:
    """What the objective minimises."""
    if objective is Objective.COST:
        return view.cost
    if objective is Objective.LATENCY:
        return view.latency_ms
    return -view.on_time() * view.table.accuracy


def _first(view: Outlook, excess: Floats, value: Floats) -> int | None:
    """The first in the ranking's order without sorting the rest; None when nothing can run."""
    if not len(excess):
        return None
    least = excess.min()
    if least == np.inf:
        return None
    best = np.flatnonzero(excess == least)
    for column in (value, view.cost, view.latency_ms):
        if len(best) == 1:
            break
        values = column.take(best)
        best = best[values == values.min()]
    return int(best[0])
