"""Picks the placement that is best now; pure, and never asks anybody anything."""

from __future__ import annotations

from registry.catalogue import Catalogue
from scheduler.decision import Decision
from scheduler.estimate import outlook
from scheduler.fleet import Fleet
from scheduler.ranking import Ranking
from scheduler.requests import Request
from scheduler.table import table_of


def choose(request: Request, catalogue: Catalogue, fleet: Fleet, now: float) -> Decision:
    """Rank the task's placements for this request, best first; `now` in seconds on the clock of the fleet's events.

    All three bounds bind under every objective. `accuracy` maximises effective accuracy, P(done by the deadline) ×
    accuracy (Zhang et al., Model-Switching, HotCloud 2020, section 3); `cost` takes the cheapest; `latency` the fastest
    at the SLO's percentile. A fleet of another catalogue snapshot is carried over first, so a caller that decides often
    does that itself. Raises NotFound for an unknown task.
    """
    table = table_of(catalogue, request.task)
    fleet = fleet.follow(catalogue)
    return Decision(request, Ranking(outlook(request, table, fleet, now)), fleet, now)
