"""Spans become subsegments at X-Ray's daemon, over UDP."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from functions.aws.xray import XRay

ROOT, PARENT = "1-5759e988-bd862e3fe1be46a994272793", "53995c3f42cd8ad8"


@pytest.fixture
def daemon() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(10)
        yield listener


def variables(daemon: socket.socket, sampled: int = 1) -> dict[str, str]:
    host, port = daemon.getsockname()
    return {
        "AWS_XRAY_DAEMON_ADDRESS": f"{host}:{port}",
        "_X_AMZN_TRACE_ID": f"Root={ROOT};Parent={PARENT};Sampled={sampled};Lineage=1:a:0",
    }


@contextmanager
def tracing_by(environment: dict[str, str]) -> Iterator[XRay]:
    tracer = XRay.of(environment)
    assert tracer is not None
    try:
        yield tracer
    finally:
        tracer.close()


def received(daemon: socket.socket) -> dict[str, Any]:
    header, _, document = daemon.recv(65536).partition(b"\n")
    assert json.loads(header) == {"format": "json", "version": 1}
    found: dict[str, Any] = json.loads(document)
    return found


def test_spans_are_subsegments_inside_one_another(daemon: socket.socket) -> None:
    with (
        tracing_by(variables(daemon)) as tracer,
        tracer.span("dispatch", decision_id="d1"),
        tracer.span("attempt", tier="a") as span,
    ):
        carried = tracer.traceparent()
        span.note(run_ms=5.0)

    inner, outer = received(daemon), received(daemon)
    assert [inner["name"], outer["name"]] == ["attempt", "dispatch"]
    assert (outer["trace_id"], outer["parent_id"], outer["type"]) == (ROOT, PARENT, "subsegment")
    assert (inner["trace_id"], inner["parent_id"]) == (ROOT, outer["id"])
    assert inner["annotations"] == {"tier": "a", "run_ms": 5.0}
    assert outer["start_time"] <= inner["start_time"] <= inner["end_time"] <= outer["end_time"]
    assert carried == f"00-{ROOT[2:].replace('-', '')}-{inner['id']}-01"


def test_what_raises_is_a_fault_of_its_class_alone(daemon: socket.socket) -> None:
    with pytest.raises(ValueError, match="secret"), tracing_by(variables(daemon)) as tracer, tracer.span("decide"):
        raise ValueError("secret")

    told = received(daemon)
    assert (told["fault"], told["annotations"]) == (True, {"error": "ValueError"})


def test_what_is_not_sampled_is_not_sent(daemon: socket.socket) -> None:
    environment = variables(daemon, sampled=0)
    with tracing_by(environment) as tracer:
        with tracer.span("decide"):
            assert tracer.traceparent() == ""
        environment["_X_AMZN_TRACE_ID"] = variables(daemon)["_X_AMZN_TRACE_ID"]
        with tracer.span("dispatch"):
            pass

    assert received(daemon)["name"] == "dispatch"


def test_a_daemon_that_is_not_there_hurts_nobody() -> None:
    assert XRay.of({}) is None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        environment = variables(gone)
    with tracing_by(environment) as tracer:
        for _ in range(3):
            with tracer.span("decide"):
                pass
