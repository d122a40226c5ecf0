"""Every exception to its HTTP answer, in one table; never tells a caller what went wrong inside."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from gateway.documents import error_document
from gateway.errors import BadRequest, GatewayError, Unprocessable
from registry.errors import InvalidValue
from runtime.codecs.text import dumps
from runtime.errors import InvalidBody, InvalidTensor

log = logging.getLogger(__name__)


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
    log.error("unexpected %s", type(error).__name__, exc_info=error)
    return Internal("an unexpected fault; the gateway's log has it")


def native_refusal(error: GatewayError) -> Response:
    """`{"error": {"code", "message", ...details}}` under the error's status."""
    return _response(error, {"error": error_document(error)})


def oip_refusal(error: GatewayError) -> Response:
    """`{"error": "..."}`, as the Open Inference Protocol has it, under the same status."""
    return _response(error, {"error": str(error)})


def _response(error: GatewayError, document: Mapping[str, Any]) -> Response:
    return Response(dumps(document), error.status, _headers(error), "application/json")


def _headers(error: GatewayError) -> dict[str, str]:
    headers: dict[str, str] = {}
    retry_after_s = error.details.get("retry_after_s")
    if isinstance(retry_after_s, float | int) and math.isfinite(retry_after_s):
        # Whole seconds, rounded up (RFC 9110, section 10.2.3).
        headers["retry-after"] = str(max(1, math.ceil(retry_after_s)))
    if "decision_id" in error.details and error.status != 404:
        headers["x-decision-id"] = str(error.details["decision_id"])
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return headers
