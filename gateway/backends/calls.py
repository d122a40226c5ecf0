"""The worker function's events, replies and errors, as every backend that calls one speaks them; it calls nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.backends.protocol import Invocation, Reply
from gateway.errors import BackendError, CorruptArtifact, EnvironmentLost, ExecutionFailed, TimedOut
from registry.model import Placement, Variant
from runtime.codecs import wire
from runtime.errors import RuntimeFault

FAULTS: Mapping[str, type[BackendError]] = {
    "CorruptArtifact": CorruptArtifact,
    "Unsigned": CorruptArtifact,
    "Sandbox.Timedout": TimedOut,
    "Runtime.ExitError": EnvironmentLost,
    "Runtime.OutOfMemory": EnvironmentLost,
    "Runtime.Unknown": EnvironmentLost,
}
"""What an `errorType` means; any other is the variant's own failure. The last four are Lambda's names."""


def infer_event(invocation: Invocation) -> dict[str, Any]:
    """The event that runs an invocation."""
    event = _event("infer", invocation.placement, invocation.variant)
    traced = {"traceparent": invocation.trace} if invocation.trace else {}
    return {**event, **traced, "id": invocation.id, "inputs": wire.encode(invocation.inputs)}


def warm_event(placement: Placement, variant: Variant, *, hold_ms: int = 0) -> dict[str, Any]:
    """The event that makes a variant resident and runs nothing; it keeps its environment busy for `hold_ms` or more."""
    return {**_event("warm", placement, variant), "hold_ms": hold_ms}


def unload_event(variant: Variant, *, hold_ms: int = 0) -> dict[str, Any]:
    """The event that gives a variant up, in whatever settings it is resident; `hold_ms` as for a warm-up."""
    return {"kind": "unload", "variant": variant.id, "hold_ms": hold_ms}


def hold_event(task: str, hold_ms: int) -> dict[str, Any]:
    """The event that keeps an environment busy and changes nothing in it: no variant has this name."""
    return {"kind": "unload", "variant": f"{task}/", "hold_ms": hold_ms}


def reply_of(document: Any, *, cold: bool, billed_ms: float, init_ms: float = 0.0) -> Reply:
    """The reply that a worker's document is; raises ExecutionFailed when it is none."""
    try:
        return Reply(
            outputs=wire.decode(document["outputs"]),
            environment=str(document["environment"]),
            cold=cold,
            loaded=bool(document["loaded"]),
            run_ms=float(document["run_ms"]),
            billed_ms=billed_ms,
            init_ms=init_ms,
            load_ms=float(document["load_ms"]),
        )
    except (RuntimeFault, KeyError, TypeError, ValueError) as error:
        raise ExecutionFailed(f"the worker's reply is not one: {type(error).__name__}: {error}") from None


def fault_of(error_type: str, message: str) -> BackendError:
    """The error that a worker's `errorType` and `errorMessage` stand for."""
    return FAULTS.get(error_type, ExecutionFailed)(f"{error_type}: {message}")


def _event(kind: str, placement: Placement, variant: Variant) -> dict[str, Any]:
    return {
        "kind": kind,
        "task": variant.task,
        "variant": variant.id,
        "artifact": variant.artifact,
        "threads": placement.threads,
        "prepack": placement.prepack,
        **({"binding": variant.binding} if variant.binding else {}),
        **({"signature": variant.signature} if variant.signature else {}),
    }
