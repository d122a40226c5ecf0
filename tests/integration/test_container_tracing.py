"""A traced container's requests: one span each in the caller's trace, however they come; and untraced, nothing."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from registry.otel import OpenTelemetry
from registry.tracers import ENDPOINT, tracing_requests
from runtime.container.loaded import Loaded
from runtime.container.settings import Settings
from runtime.server import TRACES, Address, serving

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLERS = f"00-{TRACE}-{PARENT}-01"
UNSAMPLED = f"00-{TRACE}-{PARENT}-00"
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
SECRET = 42.4242

MakeFolder = Callable[[dict[str, bytes]], Path]


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(spans: InMemorySpanExporter) -> Iterator[OpenTelemetry]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    yield OpenTelemetry(provider.get_tracer("test"))
    provider.shutdown()


@pytest.fixture
def root(folder_of: MakeFolder, graphs: Any) -> Path:
    return folder_of({"m": graphs.scaled(2.0)})


@asynccontextmanager
async def container(root: Path, tracer: OpenTelemetry | None, **settings: Any) -> AsyncIterator[Address]:
    async with asyncio.timeout(PATIENCE_S), serving(Settings(models=root, port=0, cores=1, **settings), tracer) as at:
        yield at


@asynccontextmanager
async def asking(root: Path, tracer: OpenTelemetry | None) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        container(root, tracer) as address,
        httpx.AsyncClient(base_url=address.url, timeout=PATIENCE_S) as http,
    ):
        yield http


@pytest.fixture
async def traced(
    root: Path, tracer: OpenTelemetry, spans: InMemorySpanExporter
) -> AsyncIterator[tuple[httpx.AsyncClient, InMemorySpanExporter]]:
    """A traced container's client, and what was told of it."""
    async with asking(root, tracer) as http:
        yield http, spans


def asked(**more: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [SECRET] * 4}], **more}


def only(spans: InMemorySpanExporter) -> ReadableSpan:
    (span,) = spans.get_finished_spans()
    assert str(SECRET) not in span.to_json()
    return span


def of_the_caller(span: ReadableSpan) -> bool:
    return span.parent is not None and (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}") == (
        TRACE,
        PARENT,
    )


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v2/models/m/infer", {"traceparent": CALLERS}),
        ("/models/m/invoke", {"traceparent": CALLERS}),
        ("/invocations", {ATTRIBUTES: f"model=m;decision_id=d;traceparent={CALLERS}"}),
    ],
)
async def test_a_request_is_one_span_of_its_callers_trace(
    root: Path, tracer: OpenTelemetry, spans: InMemorySpanExporter, path: str, headers: dict[str, str]
) -> None:
    async with asking(root, tracer) as http:
        assert (await http.get("/v2/health/ready")).is_success
        (await http.post(path, json=asked(), headers=headers)).raise_for_status()
        assert of_the_caller(only(spans))

    span = only(spans)
    assert span.attributes is not None
    told = dict(span.attributes)
    assert (span.name, told["path"], told["status"], told["model"], told["batch"]) == ("request", path, 200, "m", 1)
    assert {"variant", "threads", "queue_ms", "run_ms", "loaded"} <= set(told)
    assert span.status.is_unset
    assert span.start_time is not None
    assert span.end_time is not None
    assert (span.end_time - span.start_time) / 1e6 >= float(str(told["run_ms"]))


async def test_the_platforms_own_form_is_told_of_alike(
    root: Path, tracer: OpenTelemetry, spans: InMemorySpanExporter
) -> None:
    async with asking(root, tracer) as http:
        (await http.post("/invocations", json={"inputs": [[SECRET] * 4]})).raise_for_status()
    span = only(spans)
    assert span.parent is None
    assert {"model", "queue_ms", "run_ms"} <= set(span.attributes or ())


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/v2/models/m/infer", "{", (400, "InvalidBody")),
        ("/v2/models/none/infer", json.dumps(asked()), (404, "UnknownModel")),
        ("/v2/models/m/infer", json.dumps(asked(parameters={"timeout": 1})), (504, "Expired")),
        ("/nowhere", json.dumps(asked()), (404, "UnknownModel")),
    ],
)
async def test_what_is_refused_says_why_and_whose_fault_it_was(
    traced: tuple[httpx.AsyncClient, InMemorySpanExporter], path: str, body: str, expected: tuple[int, str]
) -> None:
    http, spans = traced
    response = await http.post(path, content=body, headers={"traceparent": CALLERS})
    span = only(spans)
    assert of_the_caller(span)
    assert response.status_code == expected[0]
    assert span.attributes is not None
    assert (span.attributes["status"], span.attributes["error.type"]) == expected
    assert (span.status.status_code is StatusCode.ERROR) == (expected[0] >= 500)


async def test_a_trace_that_is_none_or_not_sampled_is_obeyed(
    root: Path, tracer: OpenTelemetry, spans: InMemorySpanExporter
) -> None:
    async with asking(root, tracer) as http:
        await http.post("/v2/models/m/infer", json=asked(), headers={"traceparent": UNSAMPLED})
        assert spans.get_finished_spans() == ()
        await http.post("/v2/models/m/infer", json=asked(), headers={"traceparent": "nonsense"})
    assert only(spans).parent is None


async def test_who_leaves_ends_its_span(
    root: Path, tracer: OpenTelemetry, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, reached, loop = asyncio.Event(), asyncio.Event(), asyncio.get_running_loop()
    run = Loaded.run

    def held(self: Loaded, inputs: Any, rows: Any) -> Any:
        loop.call_soon_threadsafe(reached.set)
        asyncio.run_coroutine_threadsafe(left.wait(), loop).result(PATIENCE_S)
        return run(self, inputs, rows)

    # Said to take 50 ms, so that it is run off the loop.
    monkeypatch.setattr("runtime.container.probe._measured", lambda *_: ((1, 0.05, 0.06), (64, 0.05, 0.06)))
    monkeypatch.setattr(Loaded, "run", held)
    async with container(root, tracer) as address:
        async with httpx.AsyncClient(base_url=address.url) as http:
            going = asyncio.create_task(http.post("/v2/models/m/infer", json=asked(), headers={"traceparent": CALLERS}))
            await reached.wait()
            going.cancel()
            await asyncio.gather(going, return_exceptions=True)
        left.set()
    span = only(spans)
    assert of_the_caller(span)
    assert (span.attributes or {})["error.type"] == "Cancelled"


def message(model: str = "m") -> Any:
    request = pb.ModelInferRequest(model_name=model)
    tensor = request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    tensor.contents.fp32_contents.extend([SECRET] * 4)
    return request


async def test_calls_of_grpc_are_spans_too(root: Path, tracer: OpenTelemetry, spans: InMemorySpanExporter) -> None:
    carried = (("traceparent", CALLERS),)
    async with (
        container(root, tracer, grpc_port=0) as address,
        grpc.aio.insecure_channel(str(address.grpc)) as channel,
    ):
        stub = GRPCInferenceServiceStub(channel)
        await stub.ServerReady(pb.ServerReadyRequest(), metadata=carried)
        answer = await stub.ModelInfer(message(), metadata=carried)
        assert answer.model_name == "m"
        span = only(spans)
        assert of_the_caller(span)
        assert {"path": "ModelInfer", "batch": 1}.items() <= dict(span.attributes or {}).items()
        assert {"variant", "queue_ms", "run_ms"} <= set(span.attributes or ())
        spans.clear()
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.ModelInfer(message("none"), metadata=carried)
        assert (only(spans).attributes or {})["error.type"] == "UnknownModel"


def test_nothing_is_imported_where_nobody_asks(root: Path) -> None:
    script = f"""
import asyncio, json, os, sys
from pathlib import Path
from runtime.container.settings import Settings
from runtime.server import _tracing, serving

async def main():
    with _tracing(os.environ) as tracer:
        async with serving(Settings(models=Path({str(root)!r}), port=0), tracer):
            names = ("opentelemetry", "registry.tracing", "registry.tracers", "runtime.container.traced")
            print(json.dumps([tracer, [name for name in names if name in sys.modules]]))

asyncio.run(main())
"""
    variables = {name: value for name, value in os.environ.items() if name != TRACES}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True, env=variables
    )
    assert json.loads(done.stdout) == [None, []]


def test_the_environment_says_where_traces_go() -> None:
    assert TRACES == ENDPOINT
    with tracing_requests({}, "container") as tracer:
        assert tracer is None
    with tracing_requests({ENDPOINT: "http://127.0.0.1:9"}, "container") as tracer:
        assert isinstance(tracer, OpenTelemetry)


def test_no_stop_waits_for_a_collector_that_does_not_answer() -> None:
    script = """
import os
from registry.tracers import tracing_requests

with tracing_requests(os.environ, "container") as tracer:
    tracer.begin("request", None).end()
"""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        own = {ENDPOINT: url, "OTEL_EXPORTER_OTLP_TIMEOUT": "600", "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", script], check=True, env=os.environ | own, timeout=25)
        silent.settimeout(PATIENCE_S)
        with silent.accept()[0] as asked:
            assert asked.recv(4) == b"POST"
