"""Faults as the transports tell of them: one table of HTTP statuses and gRPC codes; raises nothing."""

from __future__ import annotations

import math
from typing import NamedTuple

from registry.errors import InvalidValue
from runtime import errors as faults


class Told(NamedTuple):
    """How a fault travels."""

    status: int
    """Of HTTP."""
    code: str
    """Of gRPC, the name of a member of grpc.StatusCode."""


TABLE: tuple[tuple[type[Exception], Told], ...] = (
    (faults.UnknownEncoding, Told(415, "UNIMPLEMENTED")),
    (faults.InvalidTensor, Told(400, "INVALID_ARGUMENT")),
    (faults.InvalidBody, Told(400, "INVALID_ARGUMENT")),
    (InvalidValue, Told(400, "INVALID_ARGUMENT")),
    (faults.UnknownModel, Told(404, "NOT_FOUND")),
    (faults.WrongMethod, Told(405, "UNIMPLEMENTED")),
    (faults.CrossSite, Told(403, "PERMISSION_DENIED")),
    (faults.AlreadyLoaded, Told(409, "ALREADY_EXISTS")),
    (faults.Refused, Told(429, "RESOURCE_EXHAUSTED")),
    (faults.NotServing, Told(503, "UNAVAILABLE")),
    (faults.Unreadable, Told(503, "UNAVAILABLE")),
    (faults.Expired, Told(504, "DEADLINE_EXCEEDED")),
    (faults.NoRoom, Told(507, "RESOURCE_EXHAUSTED")),
    (faults.Unloadable, Told(500, "INTERNAL")),
    # The graph's or ONNX Runtime's own objection to these inputs: the caller's, as far as anybody can tell.
    (faults.ExecutionFailed, Told(400, "INVALID_ARGUMENT")),
    (faults.CorruptArtifact, Told(500, "DATA_LOSS")),
)
"""The first class that a fault is of counts."""

UNFORESEEN = Told(500, "INTERNAL")


def told(fault: Exception) -> Told:
    """How this fault travels."""
    return next((told for kind, told in TABLE if isinstance(fault, kind)), UNFORESEEN)


def foreseen(fault: Exception) -> bool:
    """Whether it is a fault, and no failure of the server's own, which its log must tell all of."""
    return isinstance(fault, faults.RuntimeFault | InvalidValue) and not isinstance(fault, faults.Defect)


def message(fault: Exception) -> str:
    """What its caller reads; of what nobody foresaw only that it happened."""
    return str(fault) if foreseen(fault) else "the server failed on this request; its log says how"


def retry_after(fault: Exception) -> int | None:
    """Whole seconds after which it is worth trying again, if the fault tells."""
    return max(1, math.ceil(fault.retry_after_s)) if isinstance(fault, faults.Refused) else None
