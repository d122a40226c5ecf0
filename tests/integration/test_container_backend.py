"""Containers as tiers of a platform: a real child that is killed, one at a URL, and a home served through either."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from gateway.auth import ANONYMOUS
from gateway.backends.connections import Connections
from gateway.backends.container import ContainerBackend
from gateway.backends.container_child import Child, command_of
from gateway.backends.container_place import Local, Remote
from gateway.backends.protocol import Invocation, Reply
from gateway.errors import BackendError, EnvironmentLost, ExecutionFailed, NotReady
from gateway.local import Platform, open_blobs, open_store
from optimizer.artifact import make_artifact
from registry.catalogue import Catalogue
from registry.model import (
    LEVELS,
    ZERO,
    Accuracy,
    Placement,
    Profile,
    Quantiles,
    Recipe,
    ServiceTime,
    Task,
    TensorSpec,
    TierKind,
    Variant,
)
from registry.prices import local_tiers
from registry.store import update
from scheduler.events import Event

TIER = next(tier for tier in local_tiers() if tier.kind is TierKind.CONTAINER)
WEIGHTS = np.arange(6, dtype=np.float32).reshape(3, 2)
X = np.ones((2, 3), np.float32)
SPECS = (TensorSpec("x", "FP32", (-1, 3)),), (TensorSpec("y", "FP32", (-1, 2)),)
PATIENCE_S = 60.0


@pytest.fixture
def home(tmp_path: Path, graphs: Any) -> Path:
    """A home whose one task has one variant, on the container alone."""
    blobs, store = open_blobs(tmp_path), open_store(tmp_path)
    accuracy = Accuracy(0.9, 0.9, 0.9, 10, "wilson")
    variant = Variant("product", "only", make_artifact(graphs.linear(WEIGHTS), blobs), Recipe("test"), accuracy)
    placement = Placement(variant.id, TIER.name)
    quick = Quantiles((1.0,) * len(LEVELS), 1.0)
    profile = Profile(placement.id, (ServiceTime(1, quick, 1.0),), ZERO, ZERO, 1.0, "test", "none", 1, "now")

    def edit(base: Catalogue) -> Catalogue:
        made = base.with_tasks(Task("product", *SPECS, "accuracy")).with_tiers(*local_tiers())
        return made.with_variants(variant).with_placements(placement).with_profiles(profile)

    update(store, edit)
    store.close()
    return tmp_path


@pytest.fixture
async def backend(home: Path) -> AsyncIterator[ContainerBackend]:
    events: list[Event] = []
    command = command_of(TIER, home)
    made = ContainerBackend(TIER, emit=events.append, place=lambda watcher: Local(command, watcher))
    await made.prepare()
    yield made
    await made.close()


@pytest.fixture
def variant(home: Path) -> Variant:
    store = open_store(home)
    found = store.load().variants["product/only"]
    store.close()
    return found


def invocation(variant: Variant) -> Invocation:
    return Invocation("r", Placement(variant.id, TIER.name), variant, {"x": X}, time.monotonic() + PATIENCE_S)


def pid_of(backend: ContainerBackend) -> int:
    """The child that serves now."""
    (pid,) = [child.pid for child in psutil.Process().children() if backend.tier.name in child.cmdline()]
    return pid


async def test_a_platform_serves_its_container_and_by_the_variant_s_own_name(home: Path) -> None:
    async with Platform.open(home) as platform:
        await platform.prepare()
        answers = [await platform.service.predict(ANONYMOUS, "product", {"x": X}) for _ in range(2)]
        np.testing.assert_allclose(answers[1].outputs["y"], X @ WEIGHTS)
        assert [answer.decision.tier for answer in answers] == [TIER.name, TIER.name]
        assert [answer.decision.loaded for answer in answers] == [True, False]
        backend = platform.backends[TIER.name]
        assert isinstance(backend, ContainerBackend)
        assert dict(backend.status().resident) == {"product/only": 1}
        connections = await backend._connections()
        stats = json.loads((await connections.exchange("GET", "/v2/models/product/stats")).body)["model_stats"]
        assert [(entry["version"], entry["inference_count"]) for entry in stats] == [("only", 4)]


async def test_a_child_that_is_killed_loses_its_requests_and_nothing_else(
    backend: ContainerBackend, variant: Variant
) -> None:
    await backend.invoke(invocation(variant))
    pid = pid_of(backend)
    os.kill(pid, signal.SIGSTOP)  # so that requests are surely under way
    under_way = [asyncio.ensure_future(backend.invoke(invocation(variant))) for _ in range(3)]
    assert not (await asyncio.wait(under_way, timeout=0.1))[0]
    os.kill(pid, signal.SIGKILL)
    outcomes = await asyncio.gather(*under_way, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {EnvironmentLost}
    # Whichever is noticed first: that the child has ended, or that it does not answer.
    with pytest.raises(NotReady, match=r"-9|cannot be reached"):
        await backend.invoke(invocation(variant))
    reply = await until_ready(backend, lambda: backend.invoke(invocation(variant)))
    np.testing.assert_allclose(reply.outputs["y"], X @ WEIGHTS)
    assert pid_of(backend) != pid


async def until_ready(backend: ContainerBackend, ask: Callable[[], object]) -> Reply:
    """The first answer; NotReady says when to ask again."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                reply = await ask()  # type: ignore[misc]
            except NotReady as refused:
                await asyncio.sleep(refused.retry_after_s)
            else:
                assert isinstance(reply, Reply)
                return reply


async def test_a_request_that_leaves_room_is_answered_by_what_holds_its_floor(
    backend: ContainerBackend, variant: Variant
) -> None:
    reply = await backend.invoke(replace(invocation(variant), floor=0.9))
    np.testing.assert_allclose(reply.outputs["y"], X @ WEIGHTS)
    assert reply.variant == variant.id
    with pytest.raises(ExecutionFailed, match="accurate"):
        await backend.invoke(replace(invocation(variant), floor=0.95))


async def test_a_crowd_shares_runs_and_each_gets_its_own_rows(backend: ContainerBackend, variant: Variant) -> None:
    await backend.invoke(invocation(variant))
    rows = [np.full((1, 3), i, np.float32) for i in range(100)]
    asked = [
        Invocation("r", Placement(variant.id, TIER.name), variant, {"x": x}, time.monotonic() + PATIENCE_S)
        for x in rows
    ]
    replies = await asyncio.gather(*(backend.invoke(each) for each in asked))
    for x, reply in zip(rows, replies, strict=True):
        np.testing.assert_allclose(reply.outputs["y"], x @ WEIGHTS)


async def test_a_container_at_a_url_serves_alike_and_is_looked_for_when_it_went(home: Path, variant: Variant) -> None:
    child = Child(command_of(TIER, home))
    url = await child.listening()
    async with Platform.open(home, containers={TIER.name: url}) as platform:
        await platform.prepare()
        answer = await platform.service.predict(ANONYMOUS, "product", {"x": X})
        np.testing.assert_allclose(answer.outputs["y"], X @ WEIGHTS)
        await child.stop()
        backend = platform.backends[TIER.name]
        for _ in range(2):
            with pytest.raises(BackendError):
                await backend.invoke(invocation(variant))
        assert url in backend.status().reason
        with pytest.raises(NotReady, match="cannot be reached"):
            await backend.prepare()


async def test_a_server_that_is_not_ready_is_not_used(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
        with suppress(ConnectionError):
            await reader.read()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        ended.set()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    events: list[Event] = []
    backend = ContainerBackend(TIER, emit=events.append, place=lambda watcher: Remote(url, watcher))
    for _ in range(2):  # the second is not even asked
        with pytest.raises(NotReady, match="503"):
            await backend.prepare()
    await backend.close()
    await ended.wait()
    server.close()
    assert events == []


def test_a_child_does_not_outlive_a_parent_that_is_killed(home: Path) -> None:
    program = """
import asyncio, sys
from pathlib import Path
from gateway.backends.container_child import Child, command_of
from registry.prices import local_tiers

async def main():
    child = Child(command_of(local_tiers()[-1], Path(sys.argv[1])))
    print(await child.listening(), child.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""
    parent = subprocess.Popen([sys.executable, "-c", program, str(home)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    url, pid = parent.stdout.readline().split()
    pidfd = os.pidfd_open(int(pid))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    with open(pidfd, "rb", closefd=True) as ended:
        asyncio.run(readable(ended.fileno()))

    async def reach() -> None:
        await Connections(url).exchange("GET", "/v2")

    with pytest.raises(Exception, match="cannot be reached"):
        asyncio.run(reach())


async def readable(descriptor: int) -> None:
    """Wait until a process has ended, whose pidfd is readable then."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    async with asyncio.timeout(PATIENCE_S):
        await ended.wait()
    loop.remove_reader(descriptor)
