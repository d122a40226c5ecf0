"""What callers send, and what is answered, is in no line of log, no metric and no error of a worker's."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from onnx import TensorProto, helper

from benchmarks.lambda_call import Context, http_event
from functions.api.routes import Routes
from functions.aws.callers import principal
from functions.aws.decided import Decided
from functions.aws.emf import Emf
from gateway.app import create_app
from gateway.backends.fake import FakeBackend, steady
from gateway.backends.inline import InlineBackend
from gateway.backends.protocol import Invocation, Tensors
from gateway.errors import EnvironmentLost, ExecutionFailed
from gateway.metrics import Metrics
from gateway.service import Service
from gateway.snapshots import Snapshots
from optimizer.artifact import make_artifact
from registry.blobs.files import Files
from registry.catalogue import Catalogue
from registry.model import (
    LEVELS,
    ZERO,
    Accuracy,
    Placement,
    Price,
    Profile,
    Quantiles,
    Recipe,
    ServiceTime,
    StartMode,
    Task,
    TensorSpec,
    Tier,
    TierKind,
    Variant,
)
from registry.tracing import Value
from runtime.codecs import wire
from runtime.errors import ExecutionFailed as RunFailed
from runtime.worker import Worker

NUMBER, TEXT = 7213551, "zq-marker-4471"
MARKERS = (str(NUMBER), TEXT)

ARN = "arn:aws:sts::111111111111:assumed-role/reader/session"


def gathering() -> bytes:
    """A model that looks its input up in a table of three: ONNX Runtime says which number is beyond it."""
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "x"], ["y"])],
        "gathering",
        [helper.make_tensor_value_info("x", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, ["n"])],
        [helper.make_tensor("table", TensorProto.INT64, [3], [1, 2, 3])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def facts(artifact: str = "blake3:" + "0" * 64, kind: TierKind = TierKind.PROCESS) -> Catalogue:
    task = Task("t", (TensorSpec("x", "INT64", (-1,)),), (TensorSpec("y", "INT64", (-1,)),), "accuracy", judged="y")
    quick, placement = Quantiles((1.0,) * len(LEVELS), 1.0), Placement("t/v", "a")
    profile = Profile(placement.id, (ServiceTime(64, quick, 1.0),), ZERO, ZERO, 1.0, "t", "none", 9, "now")
    variant = Variant("t", "v", artifact, Recipe("t"), Accuracy(0.9, 0.9, 0.9, 9, "wilson"))
    tier = Tier("a", kind, 1.0, 1769, 4, StartMode.ALWAYS, Price(0.00003))
    made = Catalogue.empty().with_tasks(task).with_variants(variant).with_tiers(tier)
    return made.with_placements(placement).with_profiles(profile)


def echo(invocation: Invocation) -> Tensors:
    return {"y": invocation.inputs["x"]}


def failing(make: Callable[[str], Exception]) -> Callable[[Invocation], Tensors]:
    """A variant whose error quotes its input."""

    def fail(invocation: Invocation) -> Tensors:
        raise make(f"bad value {invocation.inputs['x'][0]} {TEXT}")

    return fail


BODIES: tuple[bytes, ...] = tuple(
    json.dumps(body).encode() if not isinstance(body, bytes) else body
    for body in (
        {"inputs": [NUMBER]},
        {"inputs": {"x": [NUMBER]}, "slo": {"latency_ms": 1e-3, "on_infeasible": "strict"}},
        {"inputs": [TEXT]},
        {"inputs": [[NUMBER]]},
        {"inputs": [NUMBER, [TEXT]]},
        {"inputs": [NUMBER + 0.5]},
        {"inputs": {TEXT: [1]}},
        {"inputs": [1], "slo": {"latency_ms": TEXT}},
        {"inputs": [1], "slo": {TEXT: NUMBER}},
        {"inputs": [1], TEXT: 1},
        {"inputs": [{"image_b64": TEXT}]},
        b'{"inputs": [' + str(NUMBER).encode(),
        TEXT.encode(),
    )
)

VARIANTS: dict[str, Callable[[Invocation], Tensors]] = {
    "answers": echo,
    "fails": failing(ExecutionFailed),
    "is lost": failing(EnvironmentLost),
    "breaks our code": failing(ValueError),
}


def watched(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> str:
    """Everything that was written anywhere."""
    out, err = capfd.readouterr()
    lines = [record.getMessage() + str(record.exc_info) + str(record.exc_text) for record in caplog.records]
    return out + err + caplog.text + "\n".join(lines)


def assert_clean(text: str) -> None:
    for marker in MARKERS:
        assert marker not in text


class Recorded:
    """A tracer that keeps all that it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    @contextmanager
    def span(self, name: str, **attributes: Value) -> Iterator[Recorded]:
        self.told.append(f"{name} {attributes}")
        try:
            yield self
        except Exception as fault:
            self.told.append(type(fault).__name__)
            raise

    def note(self, **attributes: Value) -> None:
        self.told.append(str(attributes))

    @contextmanager
    def continued(self, traceparent: str | None) -> Iterator[None]:
        yield

    def traceparent(self) -> str:
        return ""


def serving(answer: Callable[[Invocation], Tensors]) -> tuple[Service, Metrics]:
    snapshots = Snapshots(facts())
    backend = FakeBackend(snapshots.view()[0].tiers["a"], emit=snapshots.emit, answer=answer, timing=steady(run_ms=0.1))
    metrics = Metrics({"a": backend})
    return Service(snapshots, {"a": backend}, observers=[metrics.observe], probes=False), metrics


@pytest.mark.parametrize("name", VARIANTS)
async def test_one_machines_face(
    name: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.WARNING, "httpx")  # the caller's own
    caplog.set_level(logging.DEBUG)
    service, metrics = serving(VARIANTS[name])
    recorded = Recorded()
    service.trace_with(recorded)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(service, metrics=metrics)), base_url="http://gateway"
    ) as http:
        statuses = {(await http.post("/v1/tasks/t/predict", content=body)).status_code for body in BODIES}
        judged = await http.post("/v1/tasks/t/feedback", json={"decision_id": TEXT, "expected": [NUMBER, TEXT]})

    assert statuses >= {400, 422}
    assert name == "answers" or "no answer from" in caplog.text or "unexpected" in caplog.text
    assert judged.status_code == 404
    assert_clean(watched(caplog, capfd))
    assert_clean(metrics.exposition().decode())
    assert recorded.told
    assert_clean(str(recorded.told))


@pytest.mark.parametrize("name", VARIANTS)
async def test_the_functions_face(
    name: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    service, _ = serving(VARIANTS[name])
    lines: list[str] = []
    service.watch_with(Decided(Emf("api", write=lines.append), detailed=1.0, variables={}).observe)
    routes = Routes(service, partial(principal, tenant_claim="sub"))
    path, answers = "/v1/tasks/t/predict", []
    for body in BODIES:
        event = http_event("POST", path, body.decode(), ARN)
        answers.append(await routes.answer(event, Context()))

    assert {answer["statusCode"] for answer in answers} >= {400, 422}
    assert lines
    assert_clean("\n".join(lines))
    assert_clean(watched(caplog, capfd))


def infer(artifact: str) -> dict[str, Any]:
    inputs = wire.encode({"x": np.array([NUMBER])})
    return {"kind": "infer", "task": "t", "variant": "t/v", "artifact": artifact, "id": "r", "inputs": inputs}


def test_a_workers_error_quotes_nothing_of_its_inputs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    blobs = Files(tmp_path)
    worker = Worker(blobs, memory_mb=1769, threads=1)
    with pytest.raises(RunFailed, match="Gather") as failed:
        worker.handle(infer(make_artifact(gathering(), blobs)))

    assert "out of data bounds" in str(failed.value)  # still says why
    assert_clean("".join(traceback.format_exception(failed.value)))
    assert_clean(str(capfd.readouterr()))


async def test_a_run_in_the_gateway_itself_quotes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.WARNING, "httpx")
    caplog.set_level(logging.DEBUG)
    blobs = Files(tmp_path)
    snapshots = Snapshots(facts(make_artifact(gathering(), blobs), TierKind.INLINE))
    backend = InlineBackend(snapshots.view()[0].tiers["a"], emit=snapshots.emit, blobs=blobs)
    service = Service(snapshots, {"a": backend}, probes=False)
    metrics = Metrics({"a": backend})
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(service, metrics=metrics)), base_url="http://gateway"
    ) as http:
        refused = await http.post("/v1/tasks/t/predict", json={"inputs": [NUMBER]})
    await backend.close()

    assert refused.status_code == 503
    assert "out of data bounds" in refused.text
    assert_clean(watched(caplog, capfd))
