"""What came of an invocation, as Lambda puts it: the payload that the caller sees, and the log; it runs nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import orjson

from gateway.environments.invocation import Answer
from gateway.errors import BackendError, EnvironmentLost, InitFailed, TimedOut


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an invocation gave its caller, and what the platform has to say of it in the log."""

    payload: bytes
    failed: bool
    """Whether the payload is an error document (`X-Amz-Function-Error`)."""
    remark: str
    """A line: how long it took, or why there is no answer."""


def answered(answer: Answer, request_id: str, *, init_ms: float, memory_mb: int) -> Outcome:
    """Of an answer, a handler's error included; `init_ms` is the INIT that came before it, 0 where it was warm."""
    payload = answer.payload
    if answer.error is not None and not payload:
        payload = _document(answer.error.kind, answer.error.message)
    parts = [
        f"REPORT RequestId: {request_id}",
        f"Duration: {answer.duration_ms:.2f} ms",
        f"Billed Duration: {math.ceil(answer.duration_ms + init_ms)} ms",
        f"Memory Size: {memory_mb} MB",
        f"Max Memory Used: {math.ceil(answer.peak_mb)} MB",
    ]
    if init_ms:
        parts.append(f"Init Duration: {init_ms:.2f} ms")
    return Outcome(payload, answer.error is not None, "\t".join(parts))


def failed(fault: BackendError, request_id: str) -> Outcome:
    """Of an environment that gave no answer: it timed out, ended, or did not start."""
    reason = fault.reason if isinstance(fault, EnvironmentLost) else str(fault).partition("\n")[0]
    remark = f"RequestId: {request_id} Error: {reason.removeprefix(request_id).strip()}"
    if isinstance(fault, InitFailed):
        return Outcome(fault.document, True, remark)
    kind = "Sandbox.Timedout" if isinstance(fault, TimedOut) else "Runtime.ExitError"
    return Outcome(_document(kind, remark), True, remark)


def log_of(outcome: Outcome, written: str, request_id: str, version: str) -> str:
    """The lines of one invocation as CloudWatch Logs shows them: what was written, between START and END."""
    lines = (
        f"START RequestId: {request_id} Version: {version}",
        *written.splitlines(),
        f"END RequestId: {request_id}",
        outcome.remark,
    )
    return "\n".join(lines) + "\n"


def _document(kind: str, message: str) -> bytes:
    return orjson.dumps({"errorType": kind, "errorMessage": message})
