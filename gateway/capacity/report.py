"""What was planned of capacity, and what came of it, as a value and as callers read it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.capacity.carry_out import Outcome, tier_of
from registry.documents import to_document
from scheduler.actions import Action, Unload, Warm
from scheduler.capacity import Demand, Plan


@dataclass(frozen=True, slots=True)
class Report:
    """One plan, what it was made from, and what came of it."""

    at: float
    """Seconds since the epoch."""
    plan: Plan
    budget_usd_per_h: float
    demands: tuple[Demand, ...]
    outcomes: tuple[Outcome, ...]


def capacity_document(
    report: Report | None, budget_usd_per_h: float, owns: Callable[[str], bool] = lambda task: True
) -> dict[str, Any]:
    """The last plan with reasons and outcomes, of the tasks that `owns` says are the caller's; null before the first.

    A budget without bound is null too, and one of 0 keeps nothing warm.
    """
    demands = () if report is None else report.demands
    outcomes = () if report is None else report.outcomes
    return {
        "budget_usd_per_h": budget_usd_per_h if math.isfinite(budget_usd_per_h) else None,
        "at": None if report is None else report.at,
        "usd_per_h": None if report is None else report.plan.usd_per_h,
        "gain_usd_per_h": None if report is None else report.plan.gain_usd_per_h,
        "residency": {} if report is None else _residency(report.plan, owns),
        "demands": [_demand(demand) for demand in demands if owns(demand.task)],
        "actions": [_outcome(outcome) for outcome in outcomes if owns(_task(outcome.action))],
    }


def _residency(plan: Plan, owns: Callable[[str], bool]) -> dict[str, list[str]]:
    """Tier to the placements that are to live on it together, of the caller's tasks."""
    return {tier: [id_ for id_ in ids if owns(id_.partition("/")[0])] for tier, ids in plan.residency.items()}


def _task(action: Action) -> str:
    """The task that an action is for; empty for one that concerns a whole tier."""
    return action.placement.task if isinstance(action, Warm | Unload) else ""


def _demand(demand: Demand) -> dict[str, Any]:
    return {
        "task": demand.task,
        "probability": demand.ask,
        "rate_per_s": demand.rate,
        "rows": demand.request.rows,
        "slo": to_document(demand.request.slo),
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    action = outcome.action
    return {
        "action": type(action).__name__.lower(),
        "tier": tier_of(action),
        "placement": action.placement.id if isinstance(action, Warm | Unload) else None,
        "copies": None if isinstance(action, Unload) else action.copies,
        "reason": action.reason,
        "result": outcome.result.value,
        "why": outcome.why,
    }
