"""Traces as OpenTelemetry has them (the extra `otel`); imported only where somebody asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Thread

from registry.tracing import OpenSpan, Span, Value

try:
    from opentelemetry import context, trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import SpanKind, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as missing:  # the message says what to install
    raise ImportError("pip install 'modelless[otel]' to trace with OpenTelemetry") from missing

_PROPAGATOR = TraceContextTextMapPropagator()

FLUSH_S = 2.0
"""How long a server that stops waits for its last spans to be taken: a collector answers within milliseconds, and one
that does not would be waited for as long as whoever stops the server waits (10 s each)."""


class _Spoken:
    """An OpenSpan over OpenTelemetry's."""

    __slots__ = ("_span",)

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def note(self, **attributes: Value) -> None:
        """See Span."""
        for name, value in attributes.items():
            self._span.set_attribute(name, value)

    def end(self, *, failed: bool = False) -> None:
        """See OpenSpan."""
        if failed:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


class OpenTelemetry:
    """A Tracer, and a RequestTracer, over a tracer of OpenTelemetry's."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def span(self, name: str, **attributes: Value) -> Iterator[Span]:
        """See Tracer. Of what is raised the class is recorded: a message may quote what was sent."""
        with self._tracer.start_as_current_span(
            name, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield _Spoken(span)
            except BaseException as error:
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(StatusCode.ERROR)
                raise

    @contextmanager
    def continued(self, traceparent: str | None) -> Iterator[None]:
        """See Tracer."""
        token = context.attach(_callers(traceparent))
        try:
            yield
        finally:
            context.detach(token)

    def traceparent(self) -> str:
        """See Tracer."""
        carried: dict[str, str] = {}
        _PROPAGATOR.inject(carried)
        return carried.get("traceparent", "")

    def begin(self, name: str, traceparent: str | None, **attributes: Value) -> OpenSpan:
        """See RequestTracer."""
        return _Spoken(
            self._tracer.start_span(name, _callers(traceparent), SpanKind.SERVER, attributes, record_exception=False)
        )


def _callers(traceparent: str | None) -> context.Context:
    """What is under way at the caller's; nothing where he says no trace."""
    return _PROPAGATOR.extract({"traceparent": traceparent}) if traceparent else context.Context()


@contextmanager
def exporting(variables: Mapping[str, str], service: str) -> Iterator[OpenTelemetry]:
    """A tracer that exports as the OTEL_… variables say until the block ends, and FLUSH_S later at most."""
    name = variables.get("OTEL_SERVICE_NAME", service)
    provider = TracerProvider(resource=Resource.create({"service.name": name}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield OpenTelemetry(provider.get_tracer("modelless"))
    finally:
        flushing = Thread(target=provider.shutdown, daemon=True)
        flushing.start()
        flushing.join(FLUSH_S)
