"""A container as a backend, over answers that are made up: names, deadlines, bills, and what each refusal means."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gateway.backends.connections import Answer, ConnectionLost, Unreachable
from gateway.backends.container import UNPUBLISHED_S, ContainerBackend
from gateway.backends.container_place import Watcher
from gateway.backends.protocol import Invocation, Reply
from gateway.errors import (
    BackendError,
    CorruptArtifact,
    EnvironmentLost,
    ExecutionFailed,
    NotReady,
    Throttled,
    TimedOut,
)
from registry.model import Accuracy, Placement, Price, Recipe, StartMode, Tier, TierKind, Variant
from runtime.codecs.v2 import parse_request, render_response
from scheduler.events import Event

DIGEST = "blake3:" + "a" * 64
TIER = Tier("box", TierKind.CONTAINER, 2.0, 4096, 2, StartMode.ALWAYS, Price(0.0))
VARIANT = Variant("digits", "cnn", DIGEST, Recipe("train"), Accuracy(0.9, 0.9, 0.9, 9, "wilson"))
X = np.ones((4, 2), np.float32)
NOT_THERE = (404, {"error": "no version"})


class Container:
    """Answers what it is scripted to, in order, and then well; it is its own place and its own connections."""

    def __init__(self, watcher: Watcher) -> None:
        self.reason = ""
        self.script: deque[Any] = deque()
        self.asked: list[tuple[str, Any]] = []
        self.headers: dict[str, str] = {}
        """Of the last inference."""
        self.told: dict[str, Any] = {"run_ms": 2.0, "queue_ms": 3.0, "batch": 4, "threads": 1, "loaded": False}
        self.residents: list[dict[str, str]] = []
        self.held: asyncio.Event | None = None
        self.full = asyncio.Event()
        """Four requests are there."""
        self.closed = False
        self._watcher = watcher
        self._there = False

    async def reach(self) -> Any:
        if not self._there:
            self._there = True
            self._watcher.starts()
            self._watcher.came()
        return self

    def lost(self, reason: str) -> None:
        self.reason, self._there = reason, False
        self._watcher.went(reason)

    async def close(self) -> None:
        self.closed = True

    async def exchange(
        self, method: str, path: str, body: Sequence[bytes | memoryview] = (), headers: str = ""
    ) -> Answer:
        whole = b"".join(body)
        request = None
        if path.endswith("/infer"):
            self.headers = dict(line.split(": ", 1) for line in headers.split("\r\n") if line)
            request = parse_request(whole, int(self.headers["inference-header-content-length"]))
            self.asked.append((path, dict(request.parameters)))
        else:
            self.asked.append((path, json.loads(whole)))
        if len(self.asked) == 4:
            self.full.set()
        if self.held is not None:
            await self.held.wait()
        outcome = self.script.popleft() if self.script else None
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is not None:
            status, document = outcome
            return Answer(status, {}, document if isinstance(document, bytes) else json.dumps(document).encode())
        if request is None:
            return Answer(200, {}, json.dumps(self.residents if path.endswith("/index") else None).encode())
        rendered, length = render_response("digits", {"y": X}, request, version="cnn", parameters=self.told)
        return Answer(200, {b"inference-header-content-length": str(length).encode()}, rendered)

    @property
    def paths(self) -> list[str]:
        """What was asked of models, the repository's index apart."""
        return [path for path, _ in self.asked if not path.endswith("/index")]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def backend(clock: Clock, events: list[Event]) -> ContainerBackend:
    return ContainerBackend(TIER, emit=events.append, place=Container, clock=clock, queue=2)


@pytest.fixture
def container(backend: ContainerBackend) -> Container:
    made = backend._place
    assert isinstance(made, Container)
    return made


@pytest.fixture
def invoke(backend: ContainerBackend, clock: Clock) -> Callable[..., Any]:
    async def run(*, prepack: bool = True, within_s: float = 5.0) -> Reply:
        placement = Placement(VARIANT.id, TIER.name, prepack=prepack)
        return await backend.invoke(Invocation("r", placement, VARIANT, {"x": X}, clock.now + within_s))

    return run


async def test_a_trace_goes_on_into_the_container(
    backend: ContainerBackend, container: Container, clock: Clock
) -> None:
    asked = Invocation("r", Placement(VARIANT.id, TIER.name), VARIANT, {"x": X}, clock.now + 5.0)
    await backend.invoke(asked)
    assert "traceparent" not in container.headers
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await backend.invoke(replace(asked, trace=trace))
    assert container.headers["traceparent"] == trace


async def test_it_asks_for_exactly_the_placement_s_artifact_with_the_time_that_is_left(
    container: Container, invoke: Callable[..., Any]
) -> None:
    reply = await invoke(within_s=0.25)
    path, parameters = container.asked[0]
    assert path == "/v2/models/digits/versions/cnn/infer"
    assert (parameters["artifact"], parameters["timeout"]) == (DIGEST, 250_000)
    np.testing.assert_array_equal(reply.outputs["y"], X)
    assert (reply.environment, reply.cold, reply.loaded, reply.run_ms) == ("box", False, False, 2.0)


async def test_where_there_is_room_the_container_chooses_and_the_reply_says_what(
    container: Container, backend: ContainerBackend, clock: Clock
) -> None:
    placement = Placement("digits/large", TIER.name)
    large = replace(VARIANT, name="large", artifact="blake3:" + "c" * 64)
    asked = Invocation("r", placement, large, {"x": X}, clock.now + 0.1, floor=0.85)
    reply = await backend.invoke(asked)
    path, parameters = container.asked[0]
    assert path == "/v2/models/digits/infer"
    assert (parameters["min_accuracy"], "artifact" in parameters) == (0.85, False)
    assert reply.variant == "digits/cnn"
    assert dict(backend.status().resident) == {"digits/cnn": 1}
    container.script.append(NOT_THERE)
    reply = await backend.invoke(asked)
    path, parameters = container.asked[-1]
    assert path == f"/v2/models/{large.artifact}/infer"
    assert (parameters["artifact"], "min_accuracy" in parameters) == (large.artifact, False)
    assert reply.variant is None


async def test_what_is_not_published_is_asked_for_by_its_digest_until_it_may_be(
    container: Container, invoke: Callable[..., Any], clock: Clock
) -> None:
    container.script += [NOT_THERE, None, None, None]
    await invoke()
    await invoke()
    assert [path.split("/")[3] for path in container.paths] == ["digits", DIGEST, DIGEST]
    clock.now += UNPUBLISHED_S
    await invoke()
    assert container.paths[-1] == "/v2/models/digits/versions/cnn/infer"


async def test_weights_in_another_form_are_another_artifact(container: Container, invoke: Callable[..., Any]) -> None:
    container.script.append(NOT_THERE)
    await invoke(prepack=False)
    assert container.paths[-1] == f"/v2/models/{DIGEST}:u/infer"
    assert container.asked[-1][1]["artifact"] == f"{DIGEST}:u"


async def test_a_run_that_requests_shared_is_billed_by_its_rows_and_cores(
    container: Container, invoke: Callable[..., Any]
) -> None:
    assert (await invoke()).billed_ms == 2.0
    container.told |= {"batch": 16, "threads": 2}
    assert (await invoke()).billed_ms == 2.0 * 4 / 16 * 2


async def test_a_load_is_what_neither_ran_nor_waited(
    container: Container, invoke: Callable[..., Any], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slowly(*args: Any, **options: Any) -> Answer:
        clock.now += 0.050
        return await exchange(*args, **options)

    exchange = container.exchange
    monkeypatch.setattr(container, "exchange", slowly)
    container.told["loaded"] = True
    reply = await invoke()
    assert reply.loaded
    assert reply.load_ms == pytest.approx(48.0)
    assert reply.billed_ms == pytest.approx(50.0)


async def test_what_another_server_does_not_tell_is_laid_to_the_run(
    container: Container, invoke: Callable[..., Any]
) -> None:
    container.told = {"server": "another"}
    reply = await invoke()
    assert (reply.loaded, reply.load_ms, reply.wait_ms, reply.billed_ms) == (False, 0.0, 0.0, reply.run_ms)


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        ((400, {"error": "wrong extent", "type": "ExecutionFailed"}), ExecutionFailed),
        ((413, {"error": "too large"}), ExecutionFailed),
        ((429, {"error": "full", "retry_after_s": 0.3}), Throttled),
        ((500, {"error": "bytes", "type": "CorruptArtifact"}), CorruptArtifact),
        ((500, {"error": "the server failed"}), ExecutionFailed),
        ((503, {"error": "stopping", "type": "NotServing"}), NotReady),
        ((503, {"error": "storage", "type": "Unreadable"}), ExecutionFailed),
        ((504, {"error": "late"}), TimedOut),
        ((504, {"error": "strict", "type": "TooStrict"}), Throttled),
        ((507, {"error": "no room"}), ExecutionFailed),
        ((502, b"<html>"), ExecutionFailed),
        ((200, b"[]"), ExecutionFailed),
        (ConnectionLost("reset"), EnvironmentLost),
        (Unreachable("refused"), NotReady),
    ],
)
async def test_every_refusal_is_the_error_that_it_means(
    container: Container, invoke: Callable[..., Any], outcome: Any, error: type[BackendError]
) -> None:
    container.script.append(outcome)
    with pytest.raises(BackendError) as raised:
        await invoke()
    assert type(raised.value) is error
    if isinstance(raised.value, Throttled):
        # What is too strict says nothing of anybody else's requests.
        assert raised.value.retry_after_s == (0.3 if outcome[0] == 429 else 0.0)


async def test_what_is_known_by_neither_name_has_failed(container: Container, invoke: Callable[..., Any]) -> None:
    container.script += [NOT_THERE, NOT_THERE]
    with pytest.raises(ExecutionFailed, match="no version"):
        await invoke()


async def test_inputs_that_cannot_travel_are_the_variant_s_failure(backend: ContainerBackend, clock: Clock) -> None:
    placement = Placement(VARIANT.id, TIER.name)
    strange = Invocation("r", placement, VARIANT, {"x": np.ones((1, 1), np.complex64)}, clock.now + 1)
    with pytest.raises(ExecutionFailed, match="complex64"):
        await backend.invoke(strange)


async def test_all_go_at_once_those_beyond_its_slots_have_waited_and_more_than_it_takes_are_throttled(
    container: Container, invoke: Callable[..., Any]
) -> None:
    container.held = asyncio.Event()
    running = [asyncio.ensure_future(invoke()) for _ in range(4)]
    await asyncio.wait_for(container.full.wait(), 5.0)
    with pytest.raises(Throttled):
        await invoke()
    container.held.set()
    replies = await asyncio.gather(*running)
    assert [reply.wait_ms for reply in replies] == [0.0, 0.0, 3.0, 3.0]


async def test_a_caller_whose_time_is_up_is_told_so(container: Container, invoke: Callable[..., Any]) -> None:
    container.held = asyncio.Event()
    with pytest.raises(TimedOut):
        await invoke(within_s=0.01)


async def test_what_the_publisher_said_goes_with_a_run_and_a_load(
    backend: ContainerBackend, container: Container
) -> None:
    said = {"binding": "b@1", "signature": "c2ln"}
    variant, placement = replace(VARIANT, **said), Placement(VARIANT.id, TIER.name)
    await backend.ensure(placement, variant, 1)
    await backend.invoke(Invocation("r", placement, variant, {"x": X}, backend._clock() + 60.0))
    load, run = (container.asked[0][1]["parameters"], container.asked[-1][1])
    assert load == {"artifact": DIGEST, "pin": False, **said}
    assert {name: run[name] for name in said} == said


async def test_ensure_loads_without_pinning_and_only_what_is_missing(
    backend: ContainerBackend, container: Container
) -> None:
    container.residents = [{"name": "digits", "version": "cnn", "state": "READY"}]
    for _ in range(2):
        await backend.ensure(Placement(VARIANT.id, TIER.name), VARIANT, 1)
    assert container.paths == ["/v2/repository/models/digits/versions/cnn/load"]
    assert container.asked[0][1]["parameters"] == {"artifact": DIGEST, "pin": False}
    assert dict(backend.status().resident) == {"digits/cnn": 1}
    await backend.ensure(Placement(VARIANT.id, TIER.name), VARIANT, 0)
    assert len(container.paths) == 1


async def test_release_unloads_what_was_loaded_under_whichever_name(
    backend: ContainerBackend, container: Container, invoke: Callable[..., Any]
) -> None:
    container.script.append(NOT_THERE)
    await invoke()
    container.residents = [{"name": DIGEST, "version": "1"}, {"name": "blake3:" + "b" * 64, "version": "1"}]
    await backend.release(1)
    assert not [path for path in container.paths if "unload" in path]
    await backend.release()
    assert container.paths[-1] == f"/v2/repository/models/{DIGEST}/versions/1/unload"
    container.residents = []
    await backend.release()
    assert dict(backend.status().resident) == {}


async def test_one_that_went_and_came_again_may_be_another(
    backend: ContainerBackend, container: Container, invoke: Callable[..., Any], events: list[Event]
) -> None:
    container.script += [NOT_THERE, None]
    await invoke()
    container.script.append(Unreachable("refused"))
    with pytest.raises(NotReady):
        await invoke()
    assert (backend.status().ready, backend.status().reason) == (False, "refused")
    container.reason = ""
    await invoke()
    assert container.paths[-1] == "/v2/models/digits/versions/cnn/infer"
    names = [type(event).__name__ for event in events]
    assert names.count("EnvironmentStarting") == names.count("EnvironmentGone") + 1 == 2


async def test_a_closed_one_has_let_go_of_its_place(backend: ContainerBackend, container: Container) -> None:
    await backend.prepare()
    await backend.close()
    assert container.closed
    with pytest.raises(NotReady):
        await backend.prepare()
