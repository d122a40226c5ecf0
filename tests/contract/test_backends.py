"""What every backend owes the service: inline, process, container, SageMaker and Lambda (over what runs here), fake."""

from __future__ import annotations

import asyncio
import base64
import http.client
import io
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError
from onnx import TensorProto, helper, numpy_helper

from gateway.backends.components import Component
from gateway.backends.container import ContainerBackend
from gateway.backends.container_child import command_of
from gateway.backends.container_place import Local
from gateway.backends.fake import FakeBackend, steady
from gateway.backends.inline import InlineBackend
from gateway.backends.lambda_ import LambdaBackend
from gateway.backends.process import ProcessBackend
from gateway.backends.protocol import Backend, Expires, Invocation, Provisions, Unloads
from gateway.backends.sagemaker import SageMakerBackend
from gateway.backends.sagemaker_calls import Calls
from gateway.backends.sagemaker_fake import Answer, FakeComponents
from gateway.errors import BackendError, CorruptArtifact, ExecutionFailed, NotReady, Throttled, TimedOut
from registry.artifacts import TensorBlob, read_manifest, write_artifact
from registry.blobs import blob_name
from registry.blobs.files import Files
from registry.catalogue import Catalogue
from registry.copies import by_copies
from registry.model import (
    SHARED,
    Accuracy,
    Placement,
    Price,
    Recipe,
    StartMode,
    Task,
    TensorSpec,
    Tier,
    TierKind,
    Variant,
)
from runtime.container.settings import Settings
from runtime.errors import RuntimeFault
from runtime.server import serving
from runtime.worker import Worker
from scheduler.events import Event
from scheduler.fleet import Fleet

WEIGHTS = {name: np.random.default_rng(seed).random((32, 16), np.float32) for seed, name in enumerate("ab")}
X = np.linspace(0, 1, 64, dtype=np.float32).reshape(2, 32)
KINDS = ("inline", "process", "container", "sagemaker", "lambda", "fake")


class Ahead:
    """The monotonic clock, and as much as a test moves it on."""

    ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


@dataclass
class Rig:
    """A backend, the variants it can run, and every event it emitted."""

    blobs: Files
    tier: Tier
    variants: dict[str, Variant]
    events: list[Event] = field(default_factory=list)
    clock: Ahead = field(default_factory=Ahead)
    container: str = ""
    """The URL of the one that SageMaker's copy is."""
    backend: Backend = field(init=False)

    @property
    def always(self) -> bool:
        """Whether no environment starts for a request."""
        return self.tier.start_mode is StartMode.ALWAYS or by_copies(self.tier)

    def placement(self, name: str = "a") -> Placement:
        return Placement(self.variants[name].id, self.tier.name)

    async def invoke(self, name: str = "a", *, x: np.ndarray = X, within_s: float = 30.0) -> Any:
        invocation = Invocation("request", self.placement(name), self.variants[name], {"x": x}, self.clock() + within_s)
        return await self.backend.invoke(invocation)

    async def ensure(self, name: str = "a", copies: int = 1) -> None:
        await self.backend.ensure(self.placement(name), self.variants[name], copies)

    async def until_idle(self) -> None:
        """An environment has answered before it is idle."""
        async with asyncio.timeout(10):
            while not self.backend.status().idle:  # noqa: ASYNC110 - backends of all kinds tell nobody else
                await asyncio.sleep(0)

    async def unload(self, name: str = "a") -> None:
        assert isinstance(self.backend, Unloads)
        await self.backend.unload(self.variants[name])

    def corrupt(self, name: str) -> None:
        if isinstance(self.backend, FakeBackend):
            self.backend.corrupt.add(self.variants[name].artifact)
            return
        digest = read_manifest(self.blobs, self.variants[name].artifact).tensors[0].digest
        path = self.blobs.path(digest)
        damaged = bytearray(path.read_bytes())
        damaged[100] ^= 1
        path.chmod(0o644)
        path.write_bytes(damaged)

    def catalogue(self) -> Catalogue:
        spec = (TensorSpec("x", "FP32", (-1, 32)),)
        task = Task("product", spec, (TensorSpec("y", "FP32", (-1, 16)),), "accuracy")
        made = Catalogue.empty().with_tasks(task).with_tiers(self.tier).with_variants(*self.variants.values())
        return made.with_placements(*(self.placement(name) for name in self.variants))


class LocalFunction:
    """A Lambda client whose one function is the real worker, in this process, one environment for ever."""

    def __init__(self, blobs: Files) -> None:
        self._worker = Worker(blobs, memory_mb=1769, threads=1)
        self._report = b"REPORT Duration: 1.50 ms Billed Duration: 130 ms Init Duration: 128.00 ms"
        self._provisioned: int | None = None

    def invoke(self, **request: Any) -> dict[str, Any]:
        answer: dict[str, Any] = {"LogResult": base64.b64encode(self._report).decode()}
        self._report = b"REPORT Duration: 1.50 ms Billed Duration: 2 ms"
        try:
            body = self._worker.handle(json.loads(request["Payload"]))
        except RuntimeFault as fault:
            answer["FunctionError"] = "Unhandled"
            body = {"errorType": type(fault).__name__, "errorMessage": str(fault)}
        return answer | {"Payload": io.BytesIO(json.dumps(body).encode())}

    def get_provisioned_concurrency_config(self, **request: Any) -> dict[str, Any]:
        if self._provisioned is None:
            fault = {"Error": {"Code": "ProvisionedConcurrencyConfigNotFoundException", "Message": "none"}}
            raise ClientError(fault, "GetProvisionedConcurrencyConfig")
        return {"RequestedProvisionedConcurrentExecutions": self._provisioned}

    def put_provisioned_concurrency_config(self, **request: Any) -> dict[str, Any]:
        assert (request["FunctionName"], request["Qualifier"]) == ("worker", "live")
        self._provisioned = request["ProvisionedConcurrentExecutions"]
        return {}

    def delete_provisioned_concurrency_config(self, **request: Any) -> dict[str, Any]:
        self._provisioned = None
        return {}


def artifact(weights: np.ndarray, blobs: Files) -> str:
    """An artifact of y = x @ weights, the weights in a blob of their own."""
    data = weights.tobytes()
    digest = blobs.put(data)
    tensor = numpy_helper.from_array(weights, "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", blob_name(digest)), ("offset", "0"), ("length", str(len(data)))):
        tensor.external_data.add(key=key, value=value)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "k"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", weights.shape[1]])],
        [tensor],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return write_artifact(blobs, made.SerializeToString(), [TensorBlob("w", digest, len(data))])


def asking(url: str) -> Answer:
    """A copy that is the real container at a URL, reached as SageMaker reaches it."""

    def answer(body: bytes, kind: str, attributes: str) -> tuple[int, bytes, str]:
        with closing(http.client.HTTPConnection(url.rpartition("/")[2], timeout=30)) as connection:
            headers = {"content-type": kind, "x-amzn-sagemaker-custom-attributes": attributes}
            connection.request("POST", "/invocations", body, headers)
            response = connection.getresponse()
            return response.status, response.read(), response.headers.get("content-type", "")

    return answer


OWN_KINDS = {
    "inline": TierKind.INLINE,
    "container": TierKind.CONTAINER,
    "sagemaker": TierKind.GPU,
    "lambda": TierKind.LAMBDA,
}
START_MODES = {"inline": StartMode.ALWAYS, "container": StartMode.ALWAYS, "sagemaker": StartMode.PROVISIONED}


def tier_of(kind: str) -> Tier:
    return Tier(
        name=f"{kind}-1769",
        kind=OWN_KINDS.get(kind, TierKind.PROCESS),
        vcpus=1.0,
        memory_mb=1769,
        concurrency=1 if kind == "lambda" else 2,
        start_mode=START_MODES.get(kind, StartMode.ONDEMAND),
        price=Price(0.00003),
    )


def open_backend(kind: str, rig: Rig) -> Backend:
    emit, clock = rig.events.append, rig.clock
    match kind:
        case "inline":
            return InlineBackend(rig.tier, emit=emit, blobs=rig.blobs)
        case "process":
            return ProcessBackend(rig.tier, emit=emit, blobs_root=rig.blobs.root, clock=clock)
        case "container":
            command = command_of(rig.tier, rig.blobs.root.parent)
            return ContainerBackend(rig.tier, emit=emit, place=lambda watcher: Local(command, watcher))
        case "sagemaker":
            fake = FakeComponents(
                "gpu", "component", clock=clock, answer=asking(rig.container), copies=1, start_s=0.0, scale_in_s=0.0
            )
            component = Component("gpu", "component")
            calls = Calls(component, make_runtime=lambda _: fake, make_control=lambda _: fake)
            return SageMakerBackend(rig.tier, emit=emit, component=component, calls=calls, clock=clock)
        case "lambda":
            client = LocalFunction(rig.blobs)
            return LambdaBackend(
                rig.tier, emit=emit, function="worker:live", make_client=lambda timeout_s: client, clock=clock
            )
    queue = 8 if kind == "queueing" else 0
    return FakeBackend(
        rig.tier, emit=emit, answer=multiply, timing=steady(init_ms=2, load_ms=1), queue=queue, clock=clock
    )


def multiply(invocation: Invocation) -> dict[str, Any]:
    return {"y": invocation.inputs["x"] @ WEIGHTS[invocation.variant.name]}


@pytest.fixture(params=KINDS)
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    blobs = Files(tmp_path / "blobs")
    variants = {
        name: Variant("product", name, artifact(weights, blobs), Recipe("test"), Accuracy(0.9, 0.9, 0.9, 9, "wilson"))
        for name, weights in WEIGHTS.items()
    }
    made = Rig(blobs, tier_of(request.param), variants)
    async with AsyncExitStack() as stack:
        if request.param == "sagemaker":
            settings = Settings(blobs=str(blobs.root), port=0, cores=2, load=("none",))
            made.container = (await stack.enter_async_context(serving(settings))).url
        made.backend = open_backend(request.param, made)
        yield made
        await made.backend.close()


async def test_preparing_twice_starts_no_environment(rig: Rig) -> None:
    before = rig.backend.status()
    await rig.backend.prepare()
    once = rig.backend.status()
    await rig.backend.prepare()
    # What is always on need not have been on before.
    assert rig.backend.status() == once == (replace(before, idle=1) if rig.always else before)
    np.testing.assert_allclose((await rig.invoke()).outputs["y"], X @ WEIGHTS["a"], rtol=1e-5)
    await rig.backend.close()
    with pytest.raises(NotReady):
        await rig.backend.prepare()


async def test_a_reply_has_the_outputs_and_what_they_took(rig: Rig) -> None:
    reply = await rig.invoke()
    np.testing.assert_allclose(reply.outputs["y"], X @ WEIGHTS["a"], rtol=1e-5)
    assert reply.environment
    assert reply.run_ms > 0
    assert reply.load_ms > 0
    assert reply.billed_ms >= reply.run_ms


async def test_the_first_run_is_cold_and_the_second_is_not(rig: Rig) -> None:
    first, second = await rig.invoke(), await rig.invoke()
    assert first.cold is not rig.always
    assert (first.init_ms > 0) is first.cold
    assert (second.cold, second.init_ms) == (False, 0.0)
    assert first.environment == second.environment


async def test_a_variant_is_loaded_once_and_then_resident(rig: Rig) -> None:
    replies = [await rig.invoke(name) for name in ("a", "a", "b", "a")]
    assert [reply.loaded for reply in replies] == [True, False, True, False]
    assert [reply.load_ms > 0 for reply in replies] == [True, False, True, False]
    assert dict(rig.backend.status().resident) == {"product/a": 1, "product/b": 1}


async def test_no_answer_is_given_after_the_deadline(rig: Rig) -> None:
    with pytest.raises(TimedOut):
        await rig.invoke(within_s=0.0)
    np.testing.assert_allclose((await rig.invoke()).outputs["y"], X @ WEIGHTS["a"], rtol=1e-5)


async def test_ensure_makes_warm_and_resident_and_is_idempotent(rig: Rig) -> None:
    await rig.ensure()
    await rig.ensure()
    assert rig.backend.status().resident["product/a"] == 1
    reply = await rig.invoke()
    assert (reply.cold, reply.loaded) == (False, False)


async def test_release_gives_up_what_is_idle(rig: Rig) -> None:
    await rig.ensure()
    await rig.backend.release()
    assert rig.backend.status().resident.get("product/a", 0) == 0


async def test_what_would_expire_too_soon_is_used_once_more(rig: Rig) -> None:
    if not isinstance(rig.backend, Expires):
        assert rig.tier.kind in SHARED
        return
    variant, half = rig.variants["a"], rig.tier.idle_timeout_s / 2
    assert rig.backend.lasting(variant, 0.0) == 0
    await rig.ensure()
    await rig.until_idle()
    assert [rig.backend.lasting(variant, s) for s in (0.0, half, 10 * half)] == [1, 1, 1]
    rig.clock.ahead_s = half + 1
    assert [rig.backend.lasting(variant, s) for s in (0.0, half, 10 * half)] == [1, 0, 0]
    await rig.backend.ensure(rig.placement(), variant, 1, for_s=half)
    now = rig.backend.status()
    assert rig.backend.lasting(variant, half) == now.idle + now.busy + now.starting == 1
    assert (await rig.invoke()).cold is False


async def test_one_variant_is_given_up_and_the_others_stay(rig: Rig) -> None:
    await rig.unload()
    await rig.ensure("a")
    await rig.ensure("b")
    before = rig.backend.status()
    for _ in range(2):
        await rig.unload("a")
        await rig.backend.prepare()
        assert dict(rig.backend.status().resident) == {"product/b": 1}
        # One that has just answered may be on its way to idle.
        assert rig.backend.status().idle <= before.idle + before.busy
    assert (await rig.invoke("b")).loaded is False
    assert (await rig.invoke("a")).loaded is True


async def test_what_runs_is_given_up_at_its_end(rig: Rig) -> None:
    await rig.ensure()
    answer, refused = await asyncio.gather(rig.invoke(), rig.unload(), return_exceptions=True)
    assert refused is None or isinstance(refused, Throttled)  # Lambda has no place for it beside what runs
    np.testing.assert_allclose(answer.outputs["y"], X @ WEIGHTS["a"], rtol=1e-5)
    await rig.unload()
    assert rig.backend.status().resident.get("product/a", 0) == 0


async def test_copies_are_paid_for_until_they_are_not(rig: Rig) -> None:
    if not isinstance(rig.backend, Provisions):
        assert rig.tier.kind in (TierKind.INLINE, TierKind.PROCESS)
        return
    if by_copies(rig.tier):  # it has one from the start here, as nothing starts it but this
        assert await rig.backend.provision(0) is True
        with pytest.raises(NotReady):
            await rig.invoke()
    assert await rig.backend.provision(0) is False
    assert await rig.backend.provision(1) is True
    assert await rig.backend.provision(1) is False
    with pytest.raises(Throttled):
        await rig.backend.provision(3)
    np.testing.assert_allclose((await rig.invoke()).outputs["y"], X @ WEIGHTS["a"], rtol=1e-5)
    assert await rig.backend.provision(0) is True
    assert await rig.backend.provision(0) is False
    if by_copies(rig.tier):
        with pytest.raises(NotReady):
            await rig.invoke()
    else:
        np.testing.assert_allclose((await rig.invoke()).outputs["y"], X @ WEIGHTS["a"], rtol=1e-5)


@pytest.mark.parametrize("by", ["invoke", "ensure"])
async def test_bytes_that_do_not_match_their_digest_are_not_run(rig: Rig, by: str) -> None:
    rig.corrupt("a")
    with pytest.raises(CorruptArtifact):
        await (rig.invoke() if by == "invoke" else rig.ensure())
    np.testing.assert_allclose((await rig.invoke("b")).outputs["y"], X @ WEIGHTS["b"], rtol=1e-5)


async def test_a_variant_that_fails_on_its_inputs_says_so_and_the_next_run_works(rig: Rig) -> None:
    if isinstance(rig.backend, FakeBackend):
        rig.backend.script.append(ExecutionFailed("wrong inner extent"))
    with pytest.raises(ExecutionFailed):
        await rig.invoke(x=np.ones((1, 5), np.float32))
    assert (await rig.invoke()).outputs["y"].shape == (2, 16)


async def test_a_closed_backend_is_not_ready(rig: Rig) -> None:
    await rig.invoke()
    await rig.backend.close()
    await rig.backend.close()
    assert not rig.backend.status().ready
    assert rig.backend.status().reason
    for call in (rig.invoke, rig.ensure, rig.unload):
        with pytest.raises(NotReady):
            await call()


async def test_every_request_of_a_crowd_gets_one_outcome(rig: Rig) -> None:
    outcomes = await asyncio.gather(*(rig.invoke("ab"[i % 2]) for i in range(12)), return_exceptions=True)
    assert len(outcomes) == 12
    for i, outcome in enumerate(outcomes):
        if not isinstance(outcome, BackendError):
            np.testing.assert_allclose(outcome.outputs["y"], X @ WEIGHTS["ab"[i % 2]], rtol=1e-5)
    assert any(not isinstance(outcome, BackendError) for outcome in outcomes)


async def test_only_what_found_no_free_slot_has_waited(rig: Rig) -> None:
    alone = [await rig.invoke() for _ in range(3)]
    assert [reply.wait_ms for reply in alone[1:]] == [0.0, 0.0]
    if rig.tier.kind is TierKind.LAMBDA:
        return  # Lambda throttles, and queues nothing
    if isinstance(rig.backend, FakeBackend):
        rig.backend = open_backend("queueing", rig)
    crowd = await asyncio.gather(*(rig.invoke() for _ in range(8)))
    assert max(reply.wait_ms for reply in crowd) > 0
    assert all(reply.wait_ms >= 0 for reply in crowd)


async def test_its_events_are_legal_and_end_with_nothing_there(rig: Rig) -> None:
    await rig.invoke("a")
    await asyncio.gather(rig.invoke("b"), rig.invoke("a"), return_exceptions=True)
    await rig.ensure("a")
    await rig.unload("b")
    await rig.backend.close()
    fleet = Fleet.empty(rig.catalogue())
    for event in rig.events:
        fleet = fleet.apply(event)  # raises FleetError for a transition that cannot happen
    started = {e.environment for e in rig.events if type(e).__name__ == "EnvironmentStarting"}
    gone = {e.environment for e in rig.events if type(e).__name__ == "EnvironmentGone"}
    assert started == gone != set()
