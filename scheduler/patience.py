"""How long a request is worth an answer, from what, and when it is worth none; it refuses nobody itself."""

from __future__ import annotations

from enum import StrEnum

from registry.catalogue import Catalogue
from registry.model import Estimate, Objective, OnInfeasible, Slo
from scheduler.decision import Decision
from scheduler.requests import Request


class TurnedAway(StrEnum):
    """Why a request is refused at once."""

    NOTHING = "nothing can run"
    OVERLOADED = "every queue outlasts the request"
    INFEASIBLE = "no placement holds the SLO"


def deadline_of(slo: Slo, arrived: float, timeout_s: float) -> float:
    """When a request stops being worth an answer, on the clock of `arrived` (seconds).

    Under `strict` the latency bound, and under `best_effort` the tier's timeout: the caller takes a late answer,
    flagged, over none. No request outlives the timeout of its most patient tier.
    """
    patience = arrived + timeout_s
    if slo.latency_ms is not None and slo.on_infeasible is OnInfeasible.STRICT:
        return min(patience, arrived + slo.latency_ms / 1000)
    return patience


def floor_of(slo: Slo) -> float | None:
    """Least accuracy of what may answer in a placement's stead, where its tier can choose; None: nothing may.

    A tier knows its own queue to the moment and may save what would be late. What is left to it is what a caller said
    would do, and only where accuracy is the objective: another variant would cost or take something else.
    """
    bounded = slo.latency_ms is not None and slo.on_infeasible is OnInfeasible.STRICT
    free = bounded and slo.objective is Objective.ACCURACY and slo.max_cost_usd is None
    return slo.min_accuracy if free else None


def budget_ms(estimate: Estimate, request: Request, catalogue: Catalogue) -> float:
    """The time that a request has left for a placement: its latency bound, or else the tier's timeout."""
    bound = request.slo.latency_ms
    if bound is None:
        bound = catalogue.tiers[estimate.placement.tier].timeout_s * 1000
    return bound - request.elapsed_ms


def turned_away(decision: Decision, catalogue: Catalogue) -> TurnedAway | None:
    """Why to refuse what cannot be served: nothing to run, no capacity in time, or a strict SLO that nothing holds.

    Waiting that alone outlasts the time a request has is overload, whatever the SLO says of infeasibility;
    start-up and service that outlast it are infeasibility.
    """
    request = decision.request
    if not decision.ranked:
        return TurnedAway.NOTHING
    if all(0 < e.wait_ms >= budget_ms(e, request, catalogue) for e in decision.ranked):
        return TurnedAway.OVERLOADED
    if not decision.feasible and request.slo.on_infeasible is OnInfeasible.STRICT:
        return TurnedAway.INFEASIBLE
    return None
