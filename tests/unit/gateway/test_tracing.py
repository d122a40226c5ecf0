"""What is traced of a request: its parts inside one another, what failed and why not, and nothing of what was sent."""

from __future__ import annotations

import json
import logging
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gateway.backends.calls import infer_event
from gateway.errors import ExecutionFailed
from gateway.virtual_time import run_virtually
from registry.otel import OpenTelemetry
from registry.tracers import ENDPOINT, tracing
from registry.tracing import UNTRACED

BOTH = {("small", "a"): 5.0, ("large", "b"): 20.0}
CALLERS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans():
    return InMemorySpanExporter()


@pytest.fixture
def tracer(spans):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    yield OpenTelemetry(provider.get_tracer("test"))
    provider.shutdown()


def told(spans):
    """Each span's name and its parent's, in the order in which they began."""
    found = sorted(spans.get_finished_spans(), key=lambda span: span.start_time)
    names = {span.context.span_id: span.name for span in found}
    return [(span.name, names.get(span.parent.span_id) if span.parent else None) for span in found]


def test_a_request_is_decided_dispatched_and_attempted(make_world, tracer, spans):
    async def main():
        world = make_world(BOTH)
        world.service.trace_with(tracer)
        world.backends["b"].script.append(ExecutionFailed("row 1 is 42.4242"))
        with tracer.span("request"):
            await world.predict()

    run_virtually(main())
    parts = [("request", None), ("decide", "request"), ("dispatch", "request")]
    assert told(spans) == [*parts, ("attempt", "dispatch"), ("attempt", "dispatch")]
    failed, answered = (dict(s.attributes) for s in spans.get_finished_spans() if s.name == "attempt")
    assert (failed["tier"], failed["error.type"]) == ("b", "ExecutionFailed")
    assert (answered["tier"], answered["run_ms"], answered["cold"]) == ("a", 5.0, True)
    assert "42.4242" not in json.dumps([span.to_json() for span in spans.get_finished_spans()])


def test_the_callers_trace_goes_on_to_the_worker(make_world, tracer, spans):
    asked = []

    async def main():
        world = make_world(BOTH)
        world.service.trace_with(tracer)
        invoke = world.backends["b"].invoke

        async def listening(invocation):
            asked.append(invocation)
            return await invoke(invocation)

        world.backends["b"].invoke = listening
        with tracer.continued(CALLERS):
            await world.predict()

    run_virtually(main())
    (attempt,) = (span for span in spans.get_finished_spans() if span.name == "attempt")
    (invocation,) = asked
    _, trace, parent, _ = invocation.trace.split("-")
    assert trace == CALLERS.split("-")[1]
    assert parent == f"{attempt.context.span_id:016x}"
    assert infer_event(invocation)["traceparent"] == invocation.trace


def test_a_trace_that_is_none_is_not_gone_on_with(tracer):
    with tracer.continued("nonsense"):
        assert tracer.traceparent() == ""
        with tracer.span("request"):
            assert tracer.traceparent().startswith("00-")


def test_nobody_traces_unless_asked(make_world):
    async def main():
        world = make_world(BOTH)
        assert world.service.tracer is UNTRACED
        assert (await world.predict()).decision.slo_met

    run_virtually(main())
    assert UNTRACED.traceparent() == ""
    with tracing({}) as tracer:
        assert tracer is UNTRACED


# Others bring OpenTelemetry's API along, and not what exports.
@pytest.mark.parametrize("missing", ["registry.otel", "opentelemetry.sdk.trace"])
def test_what_is_not_installed_is_done_without(missing, monkeypatch, caplog):
    monkeypatch.delitem(sys.modules, "registry.otel")
    monkeypatch.setitem(sys.modules, missing, None)
    with caplog.at_level(logging.WARNING), tracing({ENDPOINT: "http://127.0.0.1:4318"}) as tracer:
        assert tracer is UNTRACED
    assert "nothing is traced" in caplog.text
