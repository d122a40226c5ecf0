"""The protocol over gRPC on a real socket, before a plane that answers what it is told to: a shell and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from registry.errors import InvalidValue
from runtime.batcher import Outcome
from runtime.container.grpc_ import MAX_DETAILS, GrpcServer, serve_grpc
from runtime.container.grpc_health import HEALTH
from runtime.container.plane import Ask, Keep
from runtime.errors import (
    Expired,
    InvalidTensor,
    NoRoom,
    NotServing,
    Refused,
    RuntimeFault,
    UnknownModel,
)
from scheduler.work import Work

LIMIT = 100_000
CALLS = 20

Tell = Callable[[Outcome | RuntimeFault], None]


class Told:
    """A plane that knows one model, m, and answers when and what the test says."""

    def __init__(self) -> None:
        self.now = 100.0
        self.ready = True
        self.draining = False
        self.loaded = True
        self.asked: asyncio.Queue[tuple[str, str | None, Any, Ask, Work, Tell]] = asyncio.Queue()
        self.cancelled: asyncio.Queue[Work] = asyncio.Queue()
        self.changes: list[tuple[object, ...]] = []
        self.gate = asyncio.Event()

    def clock(self) -> float:
        return self.now

    def infer(self, model: str, version: str | None, inputs: Any, ask: Ask, done: Tell) -> Work:
        if model != "m":
            raise UnknownModel(f"no model: {model}")
        work = Work(model, 1, ask.arrived)
        self.asked.put_nowait((model, version, inputs, ask, work, done))
        return work

    def cancel(self, work: Work) -> None:
        self.cancelled.put_nowait(work)

    async def model_ready(self, model: str, version: str | None) -> bool:
        if model != "m":
            raise UnknownModel(model)
        return self.loaded and version in (None, "1")

    def server_metadata(self) -> dict[str, Any]:
        return {"name": "modelless", "version": "9", "extensions": ["parameters"]}

    async def describe(self, model: str, version: str | None) -> dict[str, Any]:
        port = {"name": "x", "datatype": "FP32", "shape": [-1, 2]}
        return {"name": model, "versions": [version or "1"], "platform": "p", "inputs": [port], "outputs": [port]}

    async def index(self, *, ready: bool) -> list[dict[str, str]]:
        return [{"name": "m", "version": "1", "state": "READY" if ready else "UNAVAILABLE", "reason": ""}]

    async def load(self, model: str, version: str | None, keep: Keep) -> None:
        await self.gate.wait()
        self.changes.append(("load", model, keep.pin, keep.stamp))

    async def unload(self, model: str) -> None:
        self.changes.append(("unload", model))

    async def statistics(self, model: str | None, version: str | None) -> list[dict[str, Any]]:
        success = {"success": {"count": 3, "ns": 2**40}}
        return [{"name": model or "all", "version": version or "1", "inference_count": 3, "inference_stats": success}]


async def served(plane: Any, port: int) -> GrpcServer:
    return await serve_grpc(plane, "127.0.0.1", port, max_message_bytes=LIMIT, max_calls=CALLS)


@pytest.fixture
async def plane() -> Told:
    return Told()


@pytest.fixture
async def server(plane: Told) -> AsyncIterator[GrpcServer]:
    serving = await served(plane, 0)
    yield serving
    await serving.stop(0)


@pytest.fixture
async def channel(server: GrpcServer) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as opened:
        yield opened


@pytest.fixture
async def stub(channel: Any) -> Any:
    return GRPCInferenceServiceStub(channel)


@pytest.fixture(autouse=True)
async def _in_time() -> AsyncIterator[None]:
    async with asyncio.timeout(30):
        yield


def request(model: str = "m", **parameters: Any) -> Any:
    """A request of one 1 × 2 tensor, raw."""
    made = pb.ModelInferRequest(model_name=model, id="7", raw_input_contents=[np.float32([1, 2]).tobytes()])
    made.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    for name, value in parameters.items():
        field = {int: "int64_param", float: "double_param", str: "string_param"}[type(value)]
        setattr(made.parameters[name], field, value)
    return made


def named(service: str) -> bytes:
    """A request to the health service."""
    return bytes([10, len(service)]) + service.encode() if service else b""


def outcome(**arrays: Any) -> Outcome:
    return Outcome(arrays or {"y": np.float32([[3, 4]])}, "small", 2, 5, 0.001, 0.002, True)


async def fails(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value


async def test_an_inference_is_asked_of_the_plane_and_its_outcome_answered(plane: Told, stub: Any) -> None:
    call = stub.ModelInfer(request(timeout=5000, priority=3, min_accuracy=0.5, latency_ms="2.5"))
    model, version, inputs, ask, _, tell = await plane.asked.get()
    tell(outcome())
    answer = await call

    assert (model, version, ask) == ("m", None, Ask(100.0, 0.0025, 3, 0.5))
    np.testing.assert_array_equal(inputs["x"], np.float32([[1, 2]]))
    assert (answer.model_name, answer.model_version, answer.id) == ("m", "small", "7")
    assert [(o.name, o.datatype, list(o.shape)) for o in answer.outputs] == [("y", "FP32", [1, 2])]
    assert answer.raw_output_contents == [np.float32([3, 4]).tobytes()]
    assert answer.parameters["variant"].string_param == "small"
    assert (answer.parameters["threads"].int64_param, answer.parameters["batch"].int64_param) == (2, 5)
    assert (answer.parameters["queue_ms"].double_param, answer.parameters["run_ms"].double_param) == (1, 2)
    assert answer.parameters["loaded"].bool_param


async def test_a_version_is_asked_for_and_only_the_outputs_that_were_named_are_sent(plane: Told, stub: Any) -> None:
    made = request()
    made.model_version = "2"
    made.outputs.add(name="b")
    call = stub.ModelInfer(made)
    _, version, _, _, _, tell = await plane.asked.get()
    tell(outcome(a=np.int8([1]), b=np.int8([2])))

    assert version == "2"
    assert [tensor.name for tensor in (await call).outputs] == ["b"]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (InvalidTensor("x", "it is wrong", "what is right"), grpc.StatusCode.INVALID_ARGUMENT),
        (UnknownModel("m"), grpc.StatusCode.NOT_FOUND),
        (Refused("no capacity", 0.25), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (NoRoom("full"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (Expired("too late"), grpc.StatusCode.DEADLINE_EXCEEDED),
        (NotServing("stopping"), grpc.StatusCode.UNAVAILABLE),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_fault_is_the_status_that_the_table_says(
    plane: Told, stub: Any, fault: RuntimeFault, code: grpc.StatusCode
) -> None:
    call = stub.ModelInfer(request())
    (*_, tell) = await plane.asked.get()
    tell(fault)
    error = await fails(call)

    assert (error.code(), error.details()) == (code, str(fault))
    pushback = dict(error.trailing_metadata()).get("grpc-retry-pushback-ms")
    assert pushback == ("250" if isinstance(fault, Refused) else None)


async def test_what_nobody_foresaw_is_logged_and_not_shown(
    plane: Told, stub: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plane, "server_metadata", lambda: 1 / 0)
    error = await fails(stub.ServerMetadata(pb.ServerMetadataRequest()))

    assert error.code() == grpc.StatusCode.INTERNAL
    assert "division" not in error.details()
    assert "division by zero" in caplog.text


async def test_an_error_of_any_length_reaches_its_caller(stub: Any) -> None:
    error = await fails(stub.ModelInfer(request("€" * 20_000)))

    assert error.code() == grpc.StatusCode.NOT_FOUND
    assert 0 <= MAX_DETAILS - len(error.details().encode()) < len("€".encode())


async def test_bytes_that_are_no_message_are_the_callers_fault(server: GrpcServer) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        error = await fails(infer(b"\xff\xff"))

    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "no ModelInferRequest" in error.details()


async def test_a_method_that_is_not_served_is_unimplemented(stub: Any) -> None:
    error = await fails(stub.TraceSetting(pb.TraceSettingRequest()))

    assert error.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_a_message_that_is_too_large_is_refused(stub: Any, plane: Told) -> None:
    made = request()
    made.raw_input_contents[0] = bytes(LIMIT)
    error = await fails(stub.ModelInfer(made))

    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert plane.asked.empty()


async def test_a_call_too_many_is_refused(plane: Told, stub: Any) -> None:
    calls = [stub.ModelInfer(request()) for _ in range(CALLS)]
    tells = [(await plane.asked.get())[-1] for _ in calls]
    error = await fails(stub.ModelInfer(request()))
    for tell in tells:
        tell(outcome())
    for call in calls:
        await call

    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await stub.ServerLive(pb.ServerLiveRequest())).live


async def test_an_answer_may_be_larger_than_a_request(plane: Told, server: GrpcServer) -> None:
    options = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=options) as channel:
        call = GRPCInferenceServiceStub(channel).ModelInfer(request())
        (*_, tell) = await plane.asked.get()
        tell(outcome(y=np.zeros(3_000_000, dtype=np.float32)))

        assert len((await call).raw_output_contents[0]) == 12_000_000


# On its way the time that a call has left is rounded up.
@pytest.mark.parametrize(("parameters", "most"), [({}, 21.0), ({"latency_ms": 5.0}, 0.005), ({"timeout": 10**9}, 21.0)])
async def test_the_deadline_is_the_sooner_of_the_calls_and_the_parameters(
    plane: Told, stub: Any, parameters: dict[str, Any], most: float
) -> None:
    call = stub.ModelInfer(request(**parameters), timeout=20)
    *_, ask, _, tell = await plane.asked.get()
    tell(outcome())
    await call

    assert ask.deadline_s is not None
    assert 0 < ask.deadline_s <= most


async def test_a_call_without_a_deadline_has_none(plane: Told, stub: Any) -> None:
    call = stub.ModelInfer(request())
    *_, ask, _, tell = await plane.asked.get()
    tell(outcome())
    await call

    assert ask.deadline_s is None


async def test_a_caller_that_leaves_takes_its_work_along(plane: Told, stub: Any) -> None:
    call = stub.ModelInfer(request())
    *_, work, tell = await plane.asked.get()
    call.cancel()

    assert await plane.cancelled.get() is work
    tell(outcome())  # a run that was under way ends all the same
    assert (await stub.ServerLive(pb.ServerLiveRequest())).live


async def test_a_call_that_is_late_takes_its_work_along(plane: Told, stub: Any) -> None:
    error = await fails(stub.ModelInfer(request(), timeout=0.05))
    *_, work, _ = await plane.asked.get()

    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert await plane.cancelled.get() is work


async def test_a_load_comes_to_its_end_though_its_caller_leaves(plane: Told, stub: Any) -> None:
    error = await fails(stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="m"), timeout=0.05))
    plane.gate.set()
    await stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="m"))

    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert plane.changes == [("load", "m", True, None), ("unload", "m")]


async def test_a_load_says_whether_to_keep_the_model_and_of_which_bytes_it_must_be(plane: Told, stub: Any) -> None:
    plane.gate.set()
    asked = pb.RepositoryModelLoadRequest(model_name="m")
    asked.parameters["pin"].bool_param = False
    asked.parameters["artifact"].string_param = "b3"
    await stub.RepositoryModelLoad(asked)
    asked.parameters["pin"].int64_param = 0
    error = await fails(stub.RepositoryModelLoad(asked))

    assert plane.changes == [("load", "m", False, "b3")]
    assert (error.code(), error.details()) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "parameter 'pin' is 0; give true or false",
    )


async def test_what_it_says_of_itself_and_of_models(plane: Told, stub: Any) -> None:
    server = await stub.ServerMetadata(pb.ServerMetadataRequest())
    model = await stub.ModelMetadata(pb.ModelMetadataRequest(name="m", version="2"))
    index = await stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=True))
    statistics = await stub.ModelStatistics(pb.ModelStatisticsRequest(name="m"))

    assert (server.name, server.version, list(server.extensions)) == ("modelless", "9", ["parameters"])
    assert (model.name, list(model.versions), list(model.inputs[0].shape)) == ("m", ["2"], [-1, 2])
    assert [(m.name, m.version, m.state) for m in index.models] == [("m", "1", "READY")]
    assert [(s.name, s.inference_stats.success.ns) for s in statistics.model_stats] == [("m", 2**40)]


async def test_readiness(plane: Told, stub: Any) -> None:
    async def model(name: str, version: str = "") -> bool:
        return bool((await stub.ModelReady(pb.ModelReadyRequest(name=name, version=version))).ready)

    assert (await stub.ServerReady(pb.ServerReadyRequest())).ready
    assert [await model("m"), await model("m", "2"), await model("unknown")] == [True, False, False]
    plane.ready = False
    assert not (await stub.ServerReady(pb.ServerReadyRequest())).ready
    assert (await stub.ServerLive(pb.ServerLiveRequest())).live


@pytest.mark.parametrize(
    ("service", "state", "status"),
    [
        ("", (True, False), 1),
        ("", (False, True), 2),
        ("m", (True, True), 1),
        ("m", (True, False), 2),
        ("m", (False, True), 2),
    ],
)
async def test_health_is_readiness_of_the_server_or_of_a_model(
    plane: Told, channel: Any, service: str, state: tuple[bool, bool], status: int
) -> None:
    plane.ready, plane.loaded = state
    assert await channel.unary_unary(f"/{HEALTH}/Check")(named(service)) == bytes([8, status])


async def test_the_health_of_nothing_is_not_found(channel: Any) -> None:
    for asked, code in ((named("z"), grpc.StatusCode.NOT_FOUND), (b"\xff", grpc.StatusCode.INVALID_ARGUMENT)):
        assert (await fails(channel.unary_unary(f"/{HEALTH}/Check")(asked))).code() == code


async def test_health_is_watched_until_the_server_is_about_to_stop(
    plane: Told, channel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.container.grpc_health.LOOK_S", 0.01)
    watch = channel.unary_stream(f"/{HEALTH}/Watch")(named("m"))
    assert await watch.read() == bytes([8, 1])
    plane.loaded = False
    assert await watch.read() == bytes([8, 2])
    plane.loaded = True
    assert await watch.read() == bytes([8, 1])
    plane.ready, plane.draining = False, True
    assert await watch.read() == bytes([8, 2])
    assert await watch.read() is grpc.aio.EOF


async def test_what_is_not_there_may_be_watched_for(plane: Told, channel: Any) -> None:
    plane.draining = True
    assert [status async for status in channel.unary_stream(f"/{HEALTH}/Watch")(named("z"))] == [bytes([8, 3])]
    broken = channel.unary_stream(f"/{HEALTH}/Watch")(b"\xff")
    assert (await fails(broken.read())).code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_stopping_lets_calls_end_and_takes_no_more(plane: Told, server: GrpcServer, stub: Any) -> None:
    call = stub.ModelInfer(request())
    (*_, tell) = await plane.asked.get()
    stopping = asyncio.create_task(server.stop(20))
    while (error := await fails_or_not(stub.ServerLive(pb.ServerLiveRequest()))) is None:
        pass
    tell(outcome())

    # What had arrived and was not taken up yet is cancelled.
    assert error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert (await call).model_version == "small"
    await stopping


async def fails_or_not(call: Any) -> grpc.aio.AioRpcError | None:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error
    return None


async def test_a_port_that_is_taken_is_refused(plane: Told, server: GrpcServer) -> None:
    with pytest.raises(InvalidValue, match=f"grpc_port: cannot listen on 127.0.0.1:{server.port}: .*choose another"):
        await served(plane, server.port)
