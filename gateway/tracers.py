"""Which tracer a server on one machine has, by its environment's variables; no function of the cloud needs it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

from gateway.tracing import UNTRACED, Tracer

log = logging.getLogger(__name__)

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
"""The variable that says where traces go, and so that they are wanted (OpenTelemetry's specification)."""


def tracing(variables: Mapping[str, str]) -> AbstractContextManager[Tracer]:
    """The Tracer that the environment's variables ask for, for as long as the block; UNTRACED where they ask for none.

    What they ask for and is not installed is said, and done without.
    """
    if not variables.get(ENDPOINT):
        return nullcontext(UNTRACED)
    try:
        from gateway.otel import exporting  # noqa: PLC0415 - an extra

        return exporting(variables)
    except ImportError as missing:
        log.warning("nothing is traced: %s", missing)
        return nullcontext(UNTRACED)
