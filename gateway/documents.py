"""What callers read: tasks, decisions and answers as JSON-able documents; every face of the product shows the same."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gateway.decisions import Record, Served
from gateway.errors import GatewayError
from registry.documents import to_document
from registry.jobs import Job
from registry.lineage import Tried
from registry.model import Estimate, Slo, Task
from scheduler.decision import Decision
from scheduler.frontier import FrontierPoint

if TYPE_CHECKING:
    from gateway.judgements import Judgement  # which needs the optimizer's metrics: a function without it needs none

CANDIDATES = 10
"""Ranked placements that a plan lists; the rest differ only in being worse."""


def slo_document(slo: Slo) -> dict[str, Any]:
    """An SLO, null for each bound that it lacks."""
    document: dict[str, Any] = to_document(slo)
    return document


def task_document(task: Task) -> dict[str, Any]:
    """A task as its callers see it."""
    document: dict[str, Any] = to_document(task)
    return document


def served_document(served: Served) -> dict[str, Any]:
    """The `decision` object of an answer."""
    document: dict[str, Any] = to_document(served)
    return document


def estimate_document(estimate: Estimate) -> dict[str, Any]:
    """One candidate: who it is and what is expected of it."""
    placement = estimate.placement
    return {
        "placement": placement.id,
        "variant": placement.variant,
        "tier": placement.tier,
        "threads": placement.threads,
        "predicted_latency_ms": estimate.latency_ms,
        "p50_ms": estimate.p50_ms,
        "wait_ms": estimate.wait_ms,
        "on_time": estimate.on_time,
        "accuracy": estimate.accuracy,
        "effective_accuracy": estimate.effective_accuracy,
        "cost_usd": estimate.cost_usd,
        "cold": estimate.cold,
        "load": estimate.load,
        "broken": list(estimate.broken),
    }


def decision_document(decision: Decision) -> dict[str, Any]:
    """What would be chosen and why, the next best, and why each other placement was not."""
    ranked = [estimate_document(e) for e in decision.ranked[:CANDIDATES]]
    return {
        "task": decision.request.task,
        "rows": decision.request.rows,
        "slo": slo_document(decision.request.slo),
        "catalogue_version": decision.catalogue_version,
        "feasible": decision.feasible,
        "broken": list(decision.broken),
        "nearest": None if decision.nearest is None else slo_document(decision.nearest),
        "reason": decision.reason,
        "chosen": ranked[0] if ranked else None,
        "ranked": ranked,
        "why_not": dict(decision.why_not()),
    }


def explanation_document(record: Record, decision: Decision) -> dict[str, Any]:
    """A past decision, and what came of it."""
    return {
        "decision_id": record.id,
        "at": record.at,
        **decision_document(decision),
        "served": None if record.served is None else served_document(record.served),
        "error": None if record.error is None else error_document(record.error),
    }


def frontier_document(
    task: str, points: Sequence[FrontierPoint], tried: Sequence[Tried], stale: Collection[str] = ()
) -> dict[str, Any]:
    """The trade-off, one object for each placement that competes, and what was tried and is no variant.

    `dominated_by` is null on the frontier; `stale` are the ids of placements that were measured on another machine.
    """
    return {
        "task": task,
        "frontier": [
            {
                "placement": point.placement.id,
                "variant": point.placement.variant,
                "tier": point.placement.tier,
                "accuracy": point.accuracy,
                "accuracy_low": point.accuracy_low,
                "accuracy_high": point.accuracy_high,
                "latency_ms": point.latency_ms,
                "cost_usd": point.cost_usd,
                "load_ms": point.load_ms,
                "memory_mb": point.memory_mb,
                "dominated_by": ", ".join(point.dominated_by) or None,
                "reason": point.reason,
                "stale": point.placement.id in stale,
            }
            for point in points
        ],
        "tried": [tried_document(attempt) for attempt in tried],
    }


def tried_document(tried: Tried) -> dict[str, Any]:
    """A variant that was tried and is not one of the task's: how it was to be made, and why not, with numbers."""
    return {
        "name": tried.name,
        "generator": tried.recipe.generator,
        "parent": tried.recipe.parent,
        "parameters": dict(tried.recipe.parameters),
        "outcome": tried.outcome.value,
        "reason": tried.reason,
        "numbers": dict(tried.numbers),
    }


def job_document(job: Job) -> dict[str, Any]:
    """A job as its caller sees it, without its result; times in ISO 8601, UTC."""
    return {
        "id": job.id,
        "task": job.task,
        "state": job.state.value,
        "submitted_at": _iso(job.submitted_at),
        "started_at": _iso(job.started_at),
        "ended_at": _iso(job.ended_at),
        "expires_at": _iso(job.expires_at),
        "result": None,
        "error": None if job.error is None else {"code": job.error.code, "message": job.error.message},
    }


def _iso(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def judgement_document(judgement: Judgement) -> dict[str, Any]:
    """What a judgement came to."""
    document: dict[str, Any] = to_document(judgement)
    return document


def error_document(error: GatewayError) -> dict[str, Any]:
    """The `error` object of a refusal: a code, the message and what it carries; infinities become null."""
    details = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in error.details.items()
    }
    return {"code": error.code, "message": str(error), **details}
