"""Says what is worth loading for a request that nothing holds as things are; loads nothing.

A request that is refused loads nothing, and one that is served late loads only what served it. So an SLO that a variant
would hold, were it resident, is held by nobody until somebody loads it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from registry.catalogue import Catalogue
from scheduler.actions import Warm
from scheduler.choose import choose
from scheduler.decision import Decision
from scheduler.fleet import Fleet
from scheduler.ranking import Ranking
from scheduler.requests import Request


def to_load(request: Request, catalogue: Catalogue, fleet: Fleet, now: float) -> Warm | None:
    """What is worth warming for a request, or else what it would prefer, each as below; it takes two decisions."""
    fleet = fleet.follow(catalogue)
    best = where_warm(request, catalogue, fleet, now).ranked
    return _worth_warming(best, fleet, now) or _preferred(best, request, catalogue, fleet, now)


def worth_warming(request: Request, catalogue: Catalogue, fleet: Fleet, now: float) -> Warm | None:
    """The placement that is first, by the SLO's objective, of those that would hold every bound where resident.

    None when there is none, and when one of them is resident already: then it is something else that the request lacks.
    Expectations are a decision's own (`choose`), paces and margins included. Raises NotFound for an unknown task.
    """
    fleet = fleet.follow(catalogue)
    return _worth_warming(where_warm(request, catalogue, fleet, now).ranked, fleet, now)


def _worth_warming(ranked: Ranking, fleet: Fleet, now: float) -> Warm | None:
    held = ranked[: ranked.held]
    if not held or any(fleet.tier(e.placement.tier).warm_with(e.placement.variant, now) for e in held):
        return None
    first = held[0]
    reason = f"{first.placement.variant} would hold the SLO in {first.latency_ms:.3g} ms, but is nowhere resident"
    return Warm(first.placement, reason)


def preferred(request: Request, catalogue: Catalogue, fleet: Fleet, now: float) -> Warm | None:
    """The placement that would be chosen were every variant resident, where another variant stands in for it now.

    None when what is chosen is of that variant, when it is resident and so not chosen for another reason, and when it
    would not hold the SLO either. Raises NotFound for an unknown task.
    """
    fleet = fleet.follow(catalogue)
    return _preferred(where_warm(request, catalogue, fleet, now).ranked, request, catalogue, fleet, now)


def _preferred(best: Ranking, request: Request, catalogue: Catalogue, fleet: Fleet, now: float) -> Warm | None:
    chosen = choose(request, catalogue, fleet, now).ranked
    if not (chosen and best.held) or chosen[0].placement.variant == best[0].placement.variant:
        return None
    first, instead = best[0].placement, chosen[0].placement.variant
    if fleet.tier(first.tier).warm_with(first.variant, now):
        return None
    return Warm(first, f"{instead} stands in for {first.variant}, which would be chosen were it resident")


def where_warm(request: Request, catalogue: Catalogue, fleet: Fleet, now: float) -> Decision:
    """What would be decided, were every variant resident and nobody waiting; raises NotFound for an unknown task."""
    return choose(request, catalogue, as_warm(fleet.follow(catalogue)), now)


def as_warm(fleet: Fleet) -> Fleet:
    """A fleet with every variant resident in an environment that is free, and nobody waiting."""
    old = fleet.columns
    columns = replace(
        old,
        resident_until=np.full_like(old.resident_until, np.inf),
        free_until=np.full_like(old.free_until, np.inf),
        full=np.zeros_like(old.full),
        any_full=False,
    )
    return replace(fleet, columns=columns)
