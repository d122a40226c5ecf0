"""Which tracer a server has, by its environment's variables; no function of the cloud needs it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from registry.tracing import UNTRACED, RequestTracer, Tracer

if TYPE_CHECKING:
    from registry.otel import OpenTelemetry

log = logging.getLogger(__name__)

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
"""The variable that says where traces go, and so that they are wanted (OpenTelemetry's specification)."""


def tracing(variables: Mapping[str, str]) -> AbstractContextManager[Tracer]:
    """The Tracer that the environment's variables ask for, for as long as the block; UNTRACED where they ask for none.

    What they ask for and is not installed is said, and done without.
    """
    if not variables.get(ENDPOINT):
        return nullcontext(UNTRACED)
    return _exporting(variables, "modelless") or nullcontext(UNTRACED)


def tracing_requests(variables: Mapping[str, str], service: str) -> AbstractContextManager[RequestTracer | None]:
    """As `tracing`, for a server whose requests begin and end apart, under its own name; None in place of UNTRACED."""
    if not variables.get(ENDPOINT):
        return nullcontext()
    return _exporting(variables, service) or nullcontext()


def _exporting(variables: Mapping[str, str], service: str) -> AbstractContextManager[OpenTelemetry] | None:
    try:
        from registry.otel import exporting  # noqa: PLC0415 - an extra

        return exporting(variables, service)
    except ImportError as missing:
        log.warning("nothing is traced: %s", missing)
        return None
