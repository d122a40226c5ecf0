"""The GPU's road without a GPU: the real container behind SageMaker's HTTP, and requests while copies come and go.

What is not here is SageMaker: `Shim` has its runtime's paths, headers and errors, as botocore knows them.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from gateway.auth import ANONYMOUS
from gateway.backends.components import Component
from gateway.backends.fake import FakeBackend, steady
from gateway.backends.inline import InlineBackend
from gateway.backends.protocol import Backend, Invocation
from gateway.backends.sagemaker import PER_COPY, SageMakerBackend
from gateway.backends.sagemaker_calls import AT_ZERO_S, Calls
from gateway.backends.sagemaker_fake import FakeComponents
from gateway.capacity.arrivals import Arrivals
from gateway.capacity.carry_out import Result
from gateway.capacity.keeper import Keeper
from gateway.errors import CorruptArtifact, ExecutionFailed, NotReady, Overloaded, TimedOut
from gateway.local import Platform, open_store
from gateway.service import Service
from gateway.snapshots import Snapshots
from optimizer.artifact import make_artifact
from registry.artifacts import read_manifest
from registry.blobs.files import Files
from registry.catalogue import Catalogue
from registry.copies import START_S
from registry.model import (
    LEVELS,
    ZERO,
    Accuracy,
    Placement,
    Profile,
    Quantiles,
    Recipe,
    ServiceTime,
    Slo,
    Task,
    TensorSpec,
    Tier,
    Variant,
)
from registry.prices import lambda_tiers, local_tiers, sagemaker_tier
from registry.store import update
from registry.stores.activity import MemoryActivity
from registry.stores.leases import FILE, SqliteLeases
from runtime.codecs.text import dumps
from scheduler.actions import Provision
from scheduler.requests import Request

ROOT = str(Path(__file__).resolve().parents[2])
GPU = sagemaker_tier()
(INLINE,) = (tier for tier in local_tiers() if tier.name == "inline")
(CPU,) = (tier for tier in lambda_tiers() if tier.name == "lambda-1769")
WEIGHTS = {name: np.random.default_rng(seed).random((3, 2), np.float32) for seed, name in enumerate("ab")}
X = np.random.default_rng(7).random((5, 3), np.float32)
SIGNATURE = (TensorSpec("x", "FP32", (-1, 3)),), (TensorSpec("y", "FP32", (-1, 2)),)
PATIENCE_S = 30.0
REQUESTS, SENT = 120, 20
"""Requests of a busy minute, of which each so many-th is sent and the others are only counted."""


def model(weights: np.ndarray) -> bytes:
    """y = tanh(x @ weights)."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Tanh", ["z"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(weights, "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return bytes(made.SerializeToString())


def variant_of(name: str, weights: np.ndarray, blobs: Files) -> Variant:
    accuracy = Accuracy(0.9, 0.9, 0.9, 9, "wilson")
    return Variant("product", name, make_artifact(model(weights), blobs), Recipe("t"), accuracy)


@dataclass
class World:
    """What runs, and what tests do to it."""

    blobs: Files
    variants: dict[str, Variant]
    shim: Shim
    backend: SageMakerBackend

    async def invoke(self, name: str = "a", x: np.ndarray = X, within_s: float = PATIENCE_S) -> Any:
        return await self.backend.invoke(self.invocation(GPU, name, x, self.backend._clock() + within_s))

    def invocation(self, tier: Tier, name: str, x: np.ndarray, deadline: float) -> Invocation:
        placement = Placement(f"product/{name}", tier.name)
        return Invocation("decision-7", placement, self.variants[name], {"x": x}, deadline)


class Shim(ThreadingHTTPServer):
    """SageMaker's runtime for one component: passes on what SageMaker passes on, and refuses as it does."""

    def __init__(self, container: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.container = container.rpartition("/")[2]
        self.copies = 1
        self.seen: list[dict[str, str]] = []
        self.came, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()


class Handler(BaseHTTPRequestHandler):
    """One call."""

    server: Shim
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        shim, names = self.server, ("content-type", "accept", "x-amzn-sagemaker-custom-attributes")
        body = self.rfile.read(int(self.headers["content-length"]))
        shim.seen.append({"path": self.path, **{name.lower(): value for name, value in self.headers.items()}})
        shim.came.set()
        shim.go_on.wait(PATIENCE_S)
        if self.path != "/endpoints/gpu/invocations":
            self._refuse(400, "ValidationError", {"Message": "Endpoint not found."})
        elif not shim.copies:
            message = "Inference Component has no capacity to process this request."
            self._refuse(400, "ValidationError", {"Message": message})
        else:
            with closing(http.client.HTTPConnection(shim.container, timeout=PATIENCE_S)) as connection:
                passed = {name: self.headers[name] for name in names if name in self.headers}
                connection.request("POST", "/invocations", body, passed)
                answer = connection.getresponse()
                self._pass_back(answer.status, answer.read(), answer.headers.get("content-type", ""))

    def _pass_back(self, status: int, body: bytes, kind: str) -> None:
        if status != 200:
            said = {"OriginalStatusCode": status, "OriginalMessage": body.decode("utf-8", "replace")}
            self._refuse(424, "ModelError", said | {"Message": f"Received {status} from model"})
            return
        self.send_response(200)
        self._end(body, kind)

    def _refuse(self, status: int, code: str, said: dict[str, Any]) -> None:
        self.send_response(status)
        self.send_header("x-amzn-errortype", code)
        self._end(json.dumps(said).encode(), "application/json")

    def _end(self, body: bytes, kind: str) -> None:
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A blob store, and the URL of the image's program over it, set up as infra/gpu.yaml does but for CUDA."""
    blobs = tmp_path_factory.mktemp("blobs")
    variables = {
        "PYTHONPATH": ROOT,
        "MODELLESS_CONTAINER_BLOBS": str(blobs),
        "MODELLESS_CONTAINER_LOAD": "none",
        "SAGEMAKER_BIND_TO_PORT": "0",
    }
    command = [sys.executable, "-m", "runtime.server", "serve"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | variables)
    assert process.stdout is not None
    yield blobs, process.stdout.readline().strip().removeprefix("listening on ")
    process.terminate()
    process.wait(timeout=PATIENCE_S)
    process.stdout.close()


@pytest.fixture
async def world(container: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    root, url = container
    shim = Shim(url)
    serving = threading.Thread(target=shim.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", f"http://127.0.0.1:{shim.server_port}")
    blobs = Files(root)
    variants = {name: variant_of(name, weights, blobs) for name, weights in WEIGHTS.items()}
    backend = SageMakerBackend(GPU, emit=lambda _: None, component=Component("gpu", "component"))
    yield World(blobs, variants, shim, backend)
    await backend.close()
    shim.go_on.set()
    shim.shutdown()
    serving.join(PATIENCE_S)
    shim.server_close()


async def test_answers_are_those_of_this_machine(world: World) -> None:
    here = InlineBackend(INLINE, emit=lambda _: None, blobs=world.blobs)
    for name in ("a", "b", "a"):
        for x in (X, X[:1]):
            there = await world.invoke(name, x)
            local = await here.invoke(world.invocation(INLINE, name, x, here._clock() + PATIENCE_S))
            np.testing.assert_array_equal(there.outputs["y"], local.outputs["y"])
            np.testing.assert_allclose(there.outputs["y"], np.tanh(x @ WEIGHTS[name]), rtol=1e-5)
    assert dict(world.backend.status().resident) == {"product/a": 1, "product/b": 1}
    await here.close()


async def test_a_call_is_signed_and_says_which_artifact_and_whose_decision(world: World) -> None:
    await world.invoke()
    (seen,) = world.shim.seen
    assert seen["path"] == "/endpoints/gpu/invocations"
    assert seen["x-amzn-sagemaker-inference-component"] == "component"
    attributes = dict(pair.split("=") for pair in seen["x-amzn-sagemaker-custom-attributes"].split(";"))
    assert attributes.keys() == {"model", "decision_id", "deadline"}
    assert (attributes["model"], attributes["decision_id"]) == (world.variants["a"].artifact, "decision-7")
    assert "/sagemaker/aws4_request" in seen["authorization"]


async def test_what_is_made_ready_is_there_and_what_is_given_up_is_loaded_again(world: World) -> None:
    placement = Placement("product/b", GPU.name)
    await world.backend.ensure(placement, world.variants["b"], 1)
    assert (await world.invoke("b")).loaded is False
    await world.backend.unload(world.variants["b"])
    again = await world.invoke("b")
    assert (again.loaded, again.load_ms > 0) == (True, True)


async def test_at_zero_copies_a_call_fails_at_once_and_is_made_once(world: World) -> None:
    world.shim.copies = 0
    with pytest.raises(NotReady, match="has no capacity") as refused:
        await world.invoke()
    assert refused.value.retry_after_s == AT_ZERO_S
    assert len(world.shim.seen) == 1


async def test_what_the_container_says_comes_through_as_what_it_is(world: World) -> None:
    with pytest.raises(ExecutionFailed, match="HTTP 400"):
        await world.invoke(x=np.ones((1, 4), np.float32))
    variant = variant_of("c", WEIGHTS["a"] + 1, world.blobs)
    path = world.blobs.path(read_manifest(world.blobs, variant.artifact).graph)
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(damaged)
    world.variants["c"] = variant
    with pytest.raises(CorruptArtifact):
        await world.invoke("c")
    assert len(world.shim.seen) == 2


async def test_no_answer_is_waited_for_after_the_deadline_nor_asked_for_again(world: World) -> None:
    world.shim.go_on.clear()
    with pytest.raises(TimedOut):
        await world.invoke(within_s=0.2)
    world.shim.go_on.set()
    assert (await world.invoke()).environment == GPU.name
    assert len(world.shim.seen) == 2


async def test_two_gateways_of_one_home_share_its_copies(world: World, tmp_path: Path) -> None:
    placement = Placement("product/a", GPU.name)

    def edit(base: Catalogue) -> Catalogue:
        made = base.with_tasks(Task("product", *SIGNATURE, "accuracy")).with_tiers(GPU)
        made = made.with_variants(world.variants["a"]).with_placements(placement)
        return made.with_profiles(profiled(placement, 5.0, START_S * 1000))

    with closing(open_store(tmp_path)) as store:
        update(store, edit)
    opened = partial(Platform.open, tmp_path, gpus={GPU.name: Component("gpu", "component")})
    async with opened() as one, opened() as other:
        with closing(SqliteLeases(tmp_path / FILE)) as leases:
            for number in range(PER_COPY - 1):
                assert leases.acquire(GPU.name, f"others-{number}", most=PER_COPY, for_s=PATIENCE_S)
            world.shim.go_on.clear()
            last = asyncio.create_task(one.service.predict(ANONYMOUS, "product", {"x": X}))
            assert await asyncio.to_thread(world.shim.came.wait, PATIENCE_S)
            with pytest.raises(Overloaded) as refused:
                await other.service.predict(ANONYMOUS, "product", {"x": X})
            assert "64 requests under way from all who share it" in str(refused.value.details)
            assert len(world.shim.seen) == 1
            world.shim.go_on.set()
            assert (await last).decision.tier == GPU.name
            # Its service asks a second later.
            await other.backends[GPU.name].invoke(world.invocation(GPU, "a", X, other.clock() + PATIENCE_S))
            assert leases.held(GPU.name) == PER_COPY - 1


# Requests while copies come and go


def flat(ms: float) -> Quantiles:
    return Quantiles((ms,) * len(LEVELS), ms) if ms else ZERO


def profiled(placement: Placement, run_ms: float, init_ms: float) -> Profile:
    service = (ServiceTime(1, flat(run_ms), run_ms),)
    return Profile(placement.id, service, flat(1.0), flat(init_ms), 10.0, "t", "none", 9, "2026-11-01")


@dataclass
class Road:
    """A service whose good variant needs a GPU, its planner, and the component, on one clock."""

    now: float = 29_000_000 * 60.0
    catalogue: Catalogue = field(init=False)

    def __post_init__(self) -> None:
        known = {"fair": 0.7, "good": 0.99}
        variants = [
            Variant("product", name, "blake3:" + str(i) * 64, Recipe("t"), Accuracy(v, v, v, 100, "wilson"))
            for i, (name, v) in enumerate(known.items())
        ]
        quick, slow, gpu = (Placement(f"product/{v}", t.name) for v, t in (("fair", CPU), ("good", CPU), ("good", GPU)))
        self.catalogue = (
            Catalogue.empty()
            .with_tasks(Task("product", *SIGNATURE, "accuracy", Slo(latency_ms=200.0)))
            .with_tiers(CPU, GPU)
            .with_variants(*variants)
            .with_placements(quick, slow, gpu)
            .with_profiles(profiled(quick, 5.0, 500.0), profiled(slow, 4000.0, 500.0))
            .with_profiles(profiled(gpu, 5.0, START_S * 1000))
        )
        self.snapshots = Snapshots(self.catalogue)
        self.component = FakeComponents("gpu", "component", clock=self.clock, answer=self.answer)
        calls = Calls(
            Component("gpu", "component"),
            make_runtime=lambda _: self.component,
            make_control=lambda _: self.component,
            wall=self.clock,
        )
        self.gpu = SageMakerBackend(
            GPU, emit=self.snapshots.emit, component=Component("gpu", "component"), calls=calls, clock=self.clock
        )
        cpu = FakeBackend(
            CPU,
            emit=self.snapshots.emit,
            answer=lambda i: {"y": i.inputs["x"][:, :2]},
            clock=self.clock,
            timing=steady(),
        )
        self.backends: dict[str, Backend] = {CPU.name: cpu, GPU.name: self.gpu}
        self.service = Service(self.snapshots, self.backends, clock=self.clock, wall=self.clock, probes=False)
        self.arrivals = Arrivals(wall=self.clock)
        self.service.tell_before(self.arrivals.note)
        self.keeper = Keeper(
            MemoryActivity(),
            self.snapshots,
            self.backends,
            budget_usd_per_h=2.0,
            arrivals=self.arrivals,
            clock=self.clock,
            wall=self.clock,
        )

    def clock(self) -> float:
        return self.now

    def answer(self, body: bytes, kind: str, attributes: str) -> tuple[int, bytes, str]:
        if "action=" in attributes:
            names = [pair.partition("=")[2] for pair in attributes.split(";") if pair.startswith("model=")]
            return 200, dumps({"models": [{"modelName": name} for name in names]}), "application/json"
        data = np.zeros((1, 2), np.float32)
        size = {"binary_data_size": data.nbytes}
        header = dumps({"outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "parameters": size}]})
        kind = f"application/vnd.sagemaker-triton.binary+json;json-header-size={len(header)}"
        return 200, header + data.tobytes(), kind

    async def ask(self) -> Any:
        answer = await self.service.predict(ANONYMOUS, "product", {"x": np.zeros((1, 3), np.float32)})
        await asyncio.sleep(0)
        return answer.decision

    async def minute(self, requests: int) -> list[Any]:
        """A minute of steady requests, of which some are sent, and the plan at its end; the decisions."""
        decisions, request = [], Request("product", Slo(latency_ms=200.0))
        for number in range(requests):
            if number % SENT:
                self.arrivals.note(request)
            else:
                decisions.append(await self.ask())
            self.now += 60.0 / requests
        self.now += 0.0 if requests else 60.0
        report = await self.keeper.once()
        self.copies = [(o.action.copies, o.result) for o in report.outcomes if isinstance(o.action, Provision)]
        return decisions

    async def close(self) -> None:
        for backend in self.backends.values():
            await backend.close()


async def test_requests_are_answered_elsewhere_until_the_gpu_that_they_pay_for_is_there() -> None:
    road = Road()
    # The default objective is accuracy: the GPU is what it would be, if it was there.
    first = await road.ask()
    assert first.tier == CPU.name
    waited, copies, told = [], [], []
    for _ in range(20):
        decisions = await road.minute(REQUESTS)
        told.append(decisions)
        waited.append({decision.tier for decision in decisions})
        copies.append(road.copies)
        assert all(decision.cost_usd < 1e-4 for decision in decisions)
        if waited[-1] == {GPU.name}:
            break
    assert waited[0] == {CPU.name}
    assert waited[-1] == {GPU.name}
    # It was asked for once, and nobody else's number was undone while it came.
    assert [(1, Result.DONE) in came for came in copies].count(True) == 1
    assert road.component.calls.count("UpdateInferenceComponentRuntimeConfig") == 1
    asked = next(i for i, came in enumerate(copies) if (1, Result.DONE) in came)
    assert len(waited) - asked == pytest.approx(START_S / 60, abs=3)
    # The first request found no copy; from then on that was known, and at most one of a minute was spent to look.
    answered = sum(len(decisions) for decisions in told if {d.tier for d in decisions} == {GPU.name})
    assert road.component.calls.count("InvokeEndpoint") <= answered + len(waited)
    await road.close()


async def test_a_gpu_that_nobody_asks_any_more_is_given_up() -> None:
    road = Road()
    await road.gpu.provision(1)
    road.now += START_S
    await road.gpu.prepare()
    assert {decision.tier for decision in await road.minute(REQUESTS)} == {GPU.name}
    minutes = 0
    while (0, Result.DONE) not in road.copies:
        await road.minute(0)
        minutes += 1
        assert minutes < 60
    assert minutes == pytest.approx(GPU.idle_timeout_s / 2 / 60, abs=2)
    assert not road.gpu.status().ready
    assert (await road.ask()).tier == CPU.name
    road.now += 3600.0
    paid_s = road.component.paid_s()
    road.now += 3600.0
    assert road.component.paid_s() == paid_s
    await road.close()
