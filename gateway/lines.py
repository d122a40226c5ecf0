"""One line of log for each decided request, the same on one machine and in the cloud; never inputs or outputs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from gateway.decisions import Attempt, Record
from gateway.measures import tier_of
from registry.documents import to_document

DETAILED = 0.01
"""Share of requests whose line says why, too: enough to see what happens, and a hundredth of what it costs."""


def line_of(record: Record, detailed: float = DETAILED) -> dict[str, Any]:
    """What is worth looking up of a request later: ids, what was promised, and what was delivered.

    A share of `detailed` requests, the same wherever it is asked, and every one that was refused say why as well.
    """
    served, error = record.served, record.error
    line = {
        "decision_id": record.id,
        "tenant": record.tenant,
        "task": record.request.task,
        "tier": tier_of(record),
        "variant": None if served is None else served.variant,
        "rows": record.request.rows,
        "predicted_ms": None if served is None else _ms(served.predicted_latency_ms),
        "actual_ms": None if served is None else _ms(served.latency_ms),
        "cold_start": None if served is None else served.cold_start,
        "slo_met": served is not None and served.slo_met,
        # The code alone: a message may quote what the caller sent.
        "error": None if error is None else error.code,
        "catalogue_version": record.catalogue.version,
    }
    return {**line, **_detail(record)} if error is not None or _sampled(record.id, detailed) else line


def _detail(record: Record) -> dict[str, Any]:
    served = record.served
    return {
        "slo": to_document(record.request.slo),
        "decided_ms": _ms(record.decided_ms),
        "reason": None if served is None else served.reason,
        "broken": [] if served is None else list(served.broken),
        "attempts": [] if served is None else [_attempt(attempt) for attempt in served.attempts],
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    # Of an error its class: what a runtime says of inputs may quote them.
    return {"placement": attempt.placement, "error": attempt.error.partition(":")[0], "ms": _ms(attempt.ms)}


def _ms(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None


def _sampled(id_: str, share: float) -> bool:
    """Whether a random id of hexadecimal digits is of the share; ids that are not ours are not."""
    try:
        return int(id_[:8], 16) < share * 16**8
    except ValueError:
        return False


def writing_lines(write: Callable[[str], Any], detailed: float = DETAILED) -> Callable[[Record], None]:
    """An observer of the service that writes each request's line as JSON."""
    return lambda record: write(json.dumps({"at": record.at, **line_of(record, detailed)}))
