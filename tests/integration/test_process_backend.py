"""The process backend with the real worker: snapshots that hold variants, deadlines, crashes, limits."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from gateway.backends.process import ProcessBackend, worker_spec
from gateway.backends.protocol import Invocation, Reply
from gateway.errors import CorruptArtifact, EnvironmentLost, ExecutionFailed, NotReady, Throttled, TimedOut
from optimizer.artifact import make_artifact
from registry.blobs.files import Files
from registry.model import Accuracy, Placement, Recipe, Tier, Variant
from registry.prices import local_tiers
from scheduler.events import (
    EnvironmentBusy,
    EnvironmentGone,
    EnvironmentReady,
    EnvironmentStarting,
    Event,
    SnapshotTaken,
)

WAIT_S = 30.0
WIDTH = 64


class Rig:
    """A blob store with one variant, and what it computes."""

    def __init__(self, root: Path) -> None:
        self.blobs = Files(root)
        self.weights = np.random.default_rng(0).normal(size=(WIDTH, WIDTH)).astype(np.float32)
        self.variant = Variant(
            "digits", "dense", self._artifact(), Recipe("test"), Accuracy(0.9, 0.8, 1.0, 10, "wilson")
        )
        self.events: list[Event] = []
        self.on_busy: Callable[[], None] = lambda: None
        self._news = asyncio.Event()

    def _artifact(self) -> str:
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, WIDTH]) for name in "xy"]
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            "dense",
            ends[:1],
            ends[1:],
            [numpy_helper.from_array(self.weights, "w")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return make_artifact(model.SerializeToString(), self.blobs)

    def emit(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, EnvironmentBusy):
            self.on_busy()
        self._news.set()

    async def until(self, met: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not met():
                self._news.clear()
                await self._news.wait()

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def ask(self, backend: ProcessBackend, rows: int = 1, *, within_s: float = WAIT_S) -> Reply:
        x = np.random.default_rng(rows).normal(size=(rows, WIDTH)).astype(np.float32)
        placement = Placement(self.variant.id, backend.tier.name)
        reply = await backend.invoke(Invocation("r", placement, self.variant, {"x": x}, time.monotonic() + within_s))
        np.testing.assert_allclose(np.asarray(reply.outputs["y"]), x @ self.weights, rtol=1e-4, atol=1e-4)
        return reply


@pytest.fixture
async def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "blobs")


def tier_of(name: str) -> Tier:
    return next(tier for tier in local_tiers() if tier.name == name)


@asynccontextmanager
async def opened(rig: Rig, name: str, **options: Any) -> AsyncIterator[ProcessBackend]:
    backend = ProcessBackend(tier_of(name), emit=rig.emit, blobs_root=rig.blobs.root, **options)
    try:
        yield backend
    finally:
        await backend.close()


@pytest.mark.parametrize("name", ["process-1769", "process-3538", "process-1769-snapstart", "process-3538-snapstart"])
async def test_every_local_tier_answers_cold_then_warm(rig: Rig, name: str) -> None:
    async with opened(rig, name) as backend:
        assert backend.cpu_share in {"cgroup-v2", "cgroup-v1", "duty-cycle", "none"}
        cold, warm = await rig.ask(backend), await rig.ask(backend, 5)
        assert (cold.cold, cold.loaded) == (True, True)
        assert cold.init_ms > 0
        assert cold.load_ms > 0
        assert (warm.cold, warm.loaded, warm.init_ms) == (False, False, 0.0)
        assert warm.environment == cold.environment
        assert warm.billed_ms >= warm.run_ms > 0
        assert rig.of(EnvironmentReady)[0].environment == cold.environment
        assert backend.status().resident == {"digits/dense": 1}


@pytest.mark.parametrize(("name", "threads"), [("process-1769-snapstart", 1), ("process-3538-snapstart", 2)])
async def test_a_snapshot_holds_its_variants_resident(rig: Rig, name: str, threads: int) -> None:
    preload = [(Placement(rig.variant.id, name, threads=threads), rig.variant)]
    async with opened(rig, name, preload=preload) as backend:
        await backend.prepare()
        placement = preload[0][0]
        x = np.ones((1, WIDTH), np.float32)
        reply = await backend.invoke(Invocation("r", placement, rig.variant, {"x": x}, time.monotonic() + WAIT_S))
        assert (reply.cold, reply.loaded) == (True, False)
        assert reply.init_ms < 1000
        assert next(event.resident for event in rig.of(EnvironmentReady)) == (rig.variant.id,)


async def test_a_new_snapshot_holds_what_it_is_told_to(rig: Rig) -> None:
    name = "process-1769-snapstart"
    placement = Placement(rig.variant.id, name)
    async with opened(rig, name) as backend:
        assert (await rig.ask(backend)).loaded
        for _ in range(2):  # the second time there is nothing to do
            await backend.preload([(placement, rig.variant)])
        assert [event.resident for event in rig.of(SnapshotTaken)] == [(rig.variant.id,)]
        again = await rig.ask(backend)
        assert (again.cold, again.loaded) == (True, False)
        assert [event.reason for event in rig.of(EnvironmentGone)] == ["replaced"]


async def test_a_snapshot_leaves_out_what_cannot_be_loaded_and_serves_the_rest(rig: Rig) -> None:
    name = "process-1769-snapstart"
    missing = Variant("digits", "gone", "blake3:" + "0" * 64, Recipe("test"), rig.variant.accuracy)
    preload = [(Placement(variant.id, name), variant) for variant in (missing, rig.variant)]
    async with opened(rig, name, preload=preload) as backend:
        reply = await rig.ask(backend)
        assert (reply.cold, reply.loaded) == (True, False)
        with pytest.raises(CorruptArtifact):
            await backend.ensure(preload[0][0], missing, 1)


async def test_a_deadline_is_answered_at_once_and_the_environment_is_kept(rig: Rig) -> None:
    async with opened(rig, "process-1769") as backend:
        with pytest.raises(TimedOut, match="process-1769"):
            await rig.ask(backend, within_s=0.001)
        # The start that the late request caused goes on, and the next one finds its environment.
        reply = await rig.ask(backend)
        assert len({event.environment for event in rig.of(EnvironmentReady)}) == 1
        assert reply.environment == rig.of(EnvironmentReady)[0].environment


async def test_an_environment_killed_mid_request_fails_that_request_only(rig: Rig) -> None:
    async with opened(rig, "process-1769") as backend:
        await rig.ask(backend)
        await rig.until(lambda: backend.status().idle == 1)
        (environment,) = backend.pool.environments
        child = environment._child
        assert child is not None
        rig.on_busy = lambda: os.killpg(child.pid, signal.SIGKILL)
        with pytest.raises(EnvironmentLost, match="SIGKILL"):
            await rig.ask(backend)
        rig.on_busy = lambda: None
        assert (await rig.ask(backend)).cold
        assert len(rig.of(EnvironmentGone)) == 1


async def test_concurrency_is_the_tiers(rig: Rig) -> None:
    async with opened(rig, "process-3538") as backend:
        replies = await asyncio.gather(*(rig.ask(backend) for _ in range(3)))
        started = {event.environment for event in rig.of(EnvironmentStarting)}
        assert len(started) == 2
        # Which of the two answers the third, or even the second, is up to which starts first.
        assert {reply.environment for reply in replies} <= started
        placement = Placement(rig.variant.id, "process-3538")
        with pytest.raises(Throttled, match="3 copies exceed the limit of 2"):
            await backend.ensure(placement, rig.variant, 3)


async def test_a_batch_over_the_payload_limit_fails_without_an_environment(rig: Rig) -> None:
    async with opened(rig, "process-1769") as backend:
        with pytest.raises(ExecutionFailed, match="over Lambda's limit"):
            await rig.ask(backend, rows=20_000)
        assert rig.events == []


async def test_ensure_and_release(rig: Rig) -> None:
    async with opened(rig, "process-1769") as backend:
        placement = Placement(rig.variant.id, "process-1769")
        await backend.ensure(placement, rig.variant, 2)
        await rig.until(lambda: backend.status().idle == 2)
        assert backend.status().resident == {"digits/dense": 2}
        reply = await rig.ask(backend)
        assert (reply.cold, reply.loaded) == (False, False)
        await backend.release(0)
        assert backend.status().idle == 0


async def test_a_closed_backend_is_not_ready(rig: Rig) -> None:
    async with opened(rig, "process-1769") as backend:
        await backend.close()
        assert not backend.status().ready
        with pytest.raises(NotReady, match="closed"):
            await rig.ask(backend)


async def test_the_worker_gets_its_tiers_size_and_no_secrets_of_ours(rig: Rig) -> None:
    spec = worker_spec(tier_of("process-3538"), rig.blobs.root)
    assert spec.memory_mb == 3538
    assert spec.env["MODELLESS_THREADS"] == "2"
    assert all(not name.startswith(("AWS_", "HOME", "USER")) for name in spec.env)
