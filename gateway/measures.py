"""What one decided request adds to the metrics, for whoever counts: Prometheus here, log lines in the cloud; pure."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.decisions import Record, Served
from gateway.errors import GatewayError, Overloaded, Throttled
from registry.measures import NOWHERE, Measure

SERVER_FAULT = 500
"""From this status on, a refusal is ours."""


def measures_of(record: Record) -> tuple[Measure, ...]:
    """The measures of one request, those of its answer last."""
    return (*_tried(record), *_decided(record), *(_refused(record) if record.served is None else _answered(record)))


def tier_of(record: Record) -> str:
    """The tier that answered, or NOWHERE."""
    return NOWHERE if record.served is None else record.served.tier


def _tried(record: Record) -> Iterator[Measure]:
    for tier, error in _attempts(record):
        if error:
            yield Measure("Fallback", 1, record.request.task, tier)
            if error.startswith(f"{Throttled.__name__}:"):
                yield Measure("LeaseRejected", 1, record.request.task, tier)


def _attempts(record: Record) -> Iterator[tuple[str, str]]:
    """The tier and error of each placement that was tried, whether one of them answered or not."""
    if record.served is not None:
        yield from ((attempt.tier, attempt.error) for attempt in record.served.attempts)
    elif record.error is not None:
        placements = record.catalogue.placements
        for tried in record.error.details.get("attempts", ()):
            yield placements[tried["placement"]].tier, tried["error"]


def _decided(record: Record) -> Iterator[Measure]:
    task, tier = record.request.task, tier_of(record)
    yield Measure("Requests", 1, task, tier)
    yield Measure("DecisionTime", record.decided_ms, task, tier)


def _refused(record: Record) -> Iterator[Measure]:
    yield Measure("Rejected", 1, record.request.task, NOWHERE)
    if record.error is not None and _ours(record.error):
        yield Measure("SloMet", 0, record.request.task, NOWHERE)
        yield Measure("SloMissed", 1, record.request.task, NOWHERE)


def _ours(error: GatewayError) -> bool:
    """Whether a refusal counts against the platform; what the caller asked in vain does not."""
    return error.status >= SERVER_FAULT or isinstance(error, Overloaded)


def _answered(record: Record) -> Iterator[Measure]:
    served = record.served
    assert served is not None
    for metric, value in _figures(served, record.wait_ms):
        yield Measure(metric, value, served.task, served.tier)


def _figures(served: Served, wait_ms: float) -> Iterator[tuple[str, float]]:
    # Both, whichever it was: arithmetic over metrics is silent where one of them has no data.
    yield "SloMet", int(served.slo_met)
    yield "SloMissed", int(not served.slo_met)
    yield "E2ELatency", served.latency_ms
    yield "ExecTime", served.run_ms
    yield "PredictionError", served.latency_ms - served.predicted_latency_ms
    yield "EstimatedCost", served.cost_usd * 1e6
    if wait_ms:
        yield "QueueTime", wait_ms
    if served.cold_start:
        yield "ColdStart", 1
