"""A container's requests, answers and errors, as every backend that asks one speaks them; it calls nobody."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from gateway.backends.protocol import Invocation, Reply
from gateway.errors import BackendError, CorruptArtifact, ExecutionFailed, NotReady, Throttled, TimedOut
from registry.model import Placement, Tier, Variant
from runtime.codecs.text import loads
from runtime.codecs.v2_client import InferAnswer, Scalar, parse_answer, render_request
from runtime.errors import RuntimeFault

FAULTS: Mapping[str, type[BackendError]] = {
    "CorruptArtifact": CorruptArtifact,
    "Unsigned": CorruptArtifact,
    "Unreadable": ExecutionFailed,
}
"""Faults by the names that travel, where their status says less."""

TOO_STRICT = "TooStrict"
"""The fault of what no run here could hold: there is time left, and another tier may be quicker."""

STATUSES: Mapping[int, type[BackendError]] = {
    HTTPStatus.SERVICE_UNAVAILABLE: NotReady,
    HTTPStatus.GATEWAY_TIMEOUT: TimedOut,
}
"""Statuses that are not the variant's own failure."""


def digest_of(placement: Placement, variant: Variant) -> str:
    """What a container calls the artifact of a placement: other weights, or weights in another form, are another."""
    return variant.artifact if placement.prepack else f"{variant.artifact}:u"


def provenance_of(variant: Variant) -> dict[str, Scalar]:
    """Parameters that say what a variant's publisher said of its artifact, where he did."""
    said = {"binding": variant.binding, "signature": variant.signature}
    return {name: text for name, text in said.items() if text}


def rendered(invocation: Invocation, left_s: float, only: Mapping[str, Scalar]) -> tuple[list[bytes | memoryview], int]:
    """The body that asks for a run within the time that is left, and the length of its header.

    `only` are parameters that say what may answer. Raises ExecutionFailed for inputs that cannot travel.
    """
    try:
        return render_request(invocation.inputs, {"timeout": max(1, int(left_s * 1e6)), **only})
    except RuntimeFault as fault:
        raise ExecutionFailed(str(fault)) from fault


def parsed(body: bytes, header_length: bytes | str | None) -> InferAnswer:
    """The answer in a body, with the length of its header as it was sent; raises ExecutionFailed for what is none."""
    try:
        return parse_answer(body, None if header_length is None else int(header_length))
    except (RuntimeFault, ValueError) as fault:
        raise ExecutionFailed(f"the container's answer is not one: {fault}") from fault


def reply_of(answer: InferAnswer, tier: Tier, rows: int, took_ms: float, *, waits: bool) -> Reply:
    """What a container tells of a run that took the caller so long; what it does not tell is laid to the run.

    `waits` says whether no slot was free when it was asked.
    """
    told = answer.parameters
    run_ms = float(told.get("run_ms", took_ms))
    wait_ms = float(told.get("queue_ms", 0.0)) if waits else 0.0
    loaded = bool(told.get("loaded", False))
    load_ms = max(0.0, took_ms - run_ms - wait_ms) if loaded else 0.0
    # Of a run that requests shared, and of its cores, each is billed its part.
    share = rows / max(rows, int(told.get("batch", rows)))
    cores = float(told.get("threads", tier.threads)) / tier.threads
    return Reply(
        outputs=answer.outputs,
        environment=tier.name,
        cold=False,
        loaded=loaded,
        run_ms=run_ms,
        billed_ms=run_ms * share * cores + load_ms,
        load_ms=load_ms,
        wait_ms=wait_ms,
    )


def fault_of(status: int, body: bytes) -> BackendError:
    """The error that a status and its body stand for."""
    document = _document(body)
    message = f"{document.get('error', 'no reason given')} (HTTP {status})"
    known = FAULTS.get(str(document.get("type")))
    if known is not None:
        return known(message)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Throttled(message, float(document.get("retry_after_s") or 1.0))
    if document.get("type") == TOO_STRICT:
        return Throttled(message, 0.0)
    return STATUSES.get(status, ExecutionFailed)(message)


def _document(body: bytes) -> Mapping[str, Any]:
    try:
        document = loads(body)
    except RuntimeFault:
        return {}
    return document if isinstance(document, dict) else {}
