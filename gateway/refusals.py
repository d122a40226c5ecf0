"""Every exception to the refusal that a caller sees, in one table, whatever the face; never what went wrong inside."""

from __future__ import annotations

import logging
import math
import traceback
from pathlib import Path

from gateway.errors import BadRequest, GatewayError, Unavailable, Unprocessable
from registry.errors import InvalidValue
from registry.errors import Unavailable as StoreUnavailable
from runtime.errors import InvalidBody, InvalidTensor

log = logging.getLogger(__name__)

DEPTH = 8
"""Calls of a traceback that the log gets."""


class Internal(GatewayError):
    """A fault of ours; the log has it, the caller does not."""

    status = 500
    code = "internal"


def as_gateway_error(error: Exception) -> GatewayError:
    """The error that a caller sees for anything that was raised."""
    match error:
        case GatewayError():
            return error
        case InvalidBody():
            return BadRequest(str(error))
        case InvalidTensor():
            return Unprocessable(str(error), tensor=error.tensor, problem=error.problem, expected=error.expected)
        case InvalidValue():
            return Unprocessable(str(error), field=error.field, problem=error.problem, fix=error.fix)
        case StoreUnavailable():
            log.warning("a store cannot be reached: %s", error)
            return Unavailable("what this needs cannot be reached now; try again later")
    log.error("unexpected %s at %s", type(error).__name__, _where(error))
    return Internal("an unexpected fault; the gateway's log has it")


def _where(error: Exception) -> str:
    """The way to the fault, innermost last; not what the error says, which may quote what a caller sent."""
    frames = traceback.extract_tb(error.__traceback__)
    return " > ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-DEPTH:])


def refusal_headers(error: GatewayError) -> dict[str, str]:
    """The HTTP headers that go with a refusal, lower case."""
    headers: dict[str, str] = {}
    retry_after_s = error.details.get("retry_after_s")
    if isinstance(retry_after_s, float | int) and math.isfinite(retry_after_s):
        # Whole seconds, rounded up (RFC 9110, section 10.2.3).
        headers["retry-after"] = str(max(1, math.ceil(retry_after_s)))
    if "decision_id" in error.details and error.status != 404:
        headers["x-decision-id"] = str(error.details["decision_id"])
    if error.status == 408:
        headers["connection"] = "close"  # What is still to come is no request (RFC 9110, section 15.5.9).
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return headers
