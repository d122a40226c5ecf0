"""Picks the placement that is best now; pure, and never asks anybody anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.errors import NotFound
from registry.model import Estimate
from registry.prices import invocation_cost
from scheduler.decision import Decision
from scheduler.fleet import Fleet
from scheduler.requests import Request

if TYPE_CHECKING:
    from registry.catalogue import Catalogue


def choose(request: Request, catalogue: Catalogue, fleet: Fleet, now: float) -> Decision:
    """Rank the task's placements for this request, best first. Raises NotFound for an unknown task."""
    if request.task not in catalogue.tasks:
        raise NotFound("task", request.task)
    ranked = [
        Estimate(
            placement=p,
            latency_ms=request.elapsed_ms + catalogue.profiles[p.id].service[0].latency.ms[7],
            p50_ms=request.elapsed_ms + catalogue.profiles[p.id].service[0].latency.ms[4],
            on_time=1.0,
            accuracy=catalogue.variants[p.variant].accuracy.value,
            effective_accuracy=catalogue.variants[p.variant].accuracy.value,
            cost_usd=invocation_cost(catalogue.tiers[p.tier].price, catalogue.profiles[p.id].service[0].billed_ms),
            cold=False,
            load=False,
        )
        for p in catalogue.placements_of(request.task)
        if p.id in catalogue.profiles
    ]
    ranked.sort(key=lambda e: (-e.effective_accuracy, e.cost_usd, e.latency_ms, e.placement.id))
    return Decision(request, catalogue.version, ranked, bool(ranked), (), None, "most accurate", dict)
