"""Requests as spans, for a container that is traced; imported by none that is not, and it answers nothing.

A span goes from a request's arrival to its answer, whichever call gives that. What only looks (GET) has none: probes
of a container's health would be most of what is kept.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from registry.tracing import OpenSpan, RequestTracer
from runtime.container.errors import UNFORESEEN, told
from runtime.container.exchange import Exchange

NAME = "request"
"""Of every span, as the gateway has it."""

PATH = 200
"""Characters of a path that are kept."""

HEADER, ATTRIBUTES = b"traceparent", b"x-amzn-sagemaker-custom-attributes"

_ATTRIBUTE = re.compile(rb"(?:^|[,;])\s*traceparent\s*=\s*([0-9a-f-]{1,100})")
"""Where SageMaker passes no other header on (`runtime.container.sagemaker`)."""

Call = Callable[[Any, Any], Awaitable[Any]]


def begun(tracer: RequestTracer, exchange: Exchange) -> OpenSpan | None:
    """The span of a request over HTTP; none for one that only looks."""
    if exchange.method in (b"GET", b"HEAD"):
        return None
    path = exchange.path.partition(b"?")[0][:PATH].decode("latin-1")
    return tracer.begin(NAME, _traceparent(exchange), path=path, method=exchange.method.decode("latin-1"))


def _traceparent(exchange: Exchange) -> str | None:
    given = exchange.headers.get(HEADER)
    if given is None and ATTRIBUTES in exchange.headers:
        found = _ATTRIBUTE.search(exchange.headers[ATTRIBUTES])
        given = found[1] if found else None
    return None if given is None else given.decode("latin-1")


def traced(tracer: RequestTracer, method: str, answer: Call) -> Call:
    """What answers a call of gRPC, as a span; what an answer's parameters tell of its run is noted."""

    async def call(request: Any, context: Any) -> Any:
        span = tracer.begin(NAME, _of(context.invocation_metadata()), path=method, method="gRPC")
        failed = True
        try:
            answered = await answer(request, context)
            failed = False
            for name, parameter in getattr(answered, "parameters", {}).items():
                span.note(**{name: getattr(parameter, parameter.WhichOneof("parameter_choice"))})
            return answered
        except BaseException as fault:
            span.note(**{"error.type": type(fault).__name__})
            failed = not isinstance(fault, Exception) or told(fault).status >= UNFORESEEN.status
            raise
        finally:
            span.end(failed=failed)

    return call


def _of(metadata: Iterable[tuple[str, str | bytes]] | None) -> str | None:
    given = dict(metadata or ()).get("traceparent")
    return given if isinstance(given, str) else None
