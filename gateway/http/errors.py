"""Refusals as Starlette responses, one form for each face."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from gateway.documents import error_document
from gateway.errors import GatewayError
from gateway.refusals import refusal_headers
from runtime.codecs.text import dumps


def native_refusal(error: GatewayError) -> Response:
    """`{"error": {"code", "message", ...details}}` under the error's status."""
    return _response(error, {"error": error_document(error)})


def oip_refusal(error: GatewayError) -> Response:
    """`{"error": "..."}`, as the Open Inference Protocol has it, under the same status."""
    return _response(error, {"error": str(error)})


def _response(error: GatewayError, document: Mapping[str, Any]) -> Response:
    return Response(dumps(document), error.status, refusal_headers(error), "application/json")
