"""Jobs run when requests leave room, give way when they are cancelled, and go back when the platform stops."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from gateway.jobs import runner as module
from gateway.jobs.runner import Runner
from registry.errors import Unavailable
from registry.jobs import Job, JobState, cancel, digest_of, job_id, submitted
from registry.stores.jobs import MemoryJobs

BODY = json.dumps({"inputs": [[1.0, 2.0, 3.0]]}).encode()


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - a store tells nobody
            await asyncio.sleep(0.005)


class Road:
    """A runner over a store in memory and fake backends whose runs end when they are let."""

    def __init__(self, world: Any, *, at_once: int = 1, cores: int = 2) -> None:
        self.world = world
        self.store = MemoryJobs()
        self.runner = Runner(self.store, world.service, at_once=at_once, cores=cores, every_s=0.02)
        self.let = asyncio.Event()
        self.begun: asyncio.Queue[None] = asyncio.Queue()
        for backend in world.backends.values():
            self._hold(backend)

    def _hold(self, backend: Any) -> None:
        invoke = backend.invoke

        async def held(invocation: Any) -> Any:
            self.begun.put_nowait(None)
            await self.let.wait()
            return await invoke(invocation)

        backend.invoke = held

    def submit(self, count: int = 1) -> list[Job]:
        jobs = []
        for i in range(count):
            id_ = job_id(1.8e9 + i, bytes(10))
            jobs.append(submitted(id_, "acme", "sum", digest_of("sum", BODY), self.store._wall()))
            self.store.submit(jobs[-1], BODY)
        self.runner.wake()
        return jobs

    def states(self) -> list[JobState]:
        return [job.state for job in reversed(self.store.jobs("acme", 100))]

    async def until(self, *states: JobState) -> None:
        await eventually(lambda: self.states() == list(states))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.runner.keep_running())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@pytest.fixture
def make_road(make_world: Callable[..., Any]) -> Callable[..., Road]:
    return lambda **options: Road(make_world(), **options)


QUEUED, RUNNING, SUCCEEDED = JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED


async def test_jobs_run_a_few_at_a_time_until_none_is_left(make_road: Callable[..., Road]) -> None:
    road = make_road(at_once=2, cores=4)
    async with road.running():
        road.submit(3)
        await road.until(RUNNING, RUNNING, QUEUED)
        road.let.set()
        await road.until(SUCCEEDED, SUCCEEDED, SUCCEEDED)
    assert json.loads(road.store.result(road.store.jobs("acme", 1)[0]))["outputs"] == {"y": [[6.0]]}


async def test_a_job_waits_while_requests_leave_no_room(make_road: Callable[..., Road]) -> None:
    road = make_road()
    asking = asyncio.create_task(road.world.predict())
    await road.begun.get()
    assert road.world.service.under_way == 1
    async with road.running():
        road.submit()
        await asyncio.sleep(0.1)  # five looks: nothing may have begun
        assert road.states() == [QUEUED]
        road.let.set()
        await asking
        await road.until(SUCCEEDED)
    assert road.world.service.under_way == 0


async def test_a_core_beyond_those_that_answer_is_room(make_road: Callable[..., Road]) -> None:
    road = make_road(cores=3)
    asking = asyncio.create_task(road.world.predict())
    await road.begun.get()
    async with road.running():
        road.submit()
        await road.until(RUNNING)
        road.let.set()
        await asking
        await road.until(SUCCEEDED)


async def test_room_is_seen_also_where_a_caller_has_left(make_road: Callable[..., Road]) -> None:
    road = make_road()
    asking = asyncio.create_task(road.world.predict())
    await road.begun.get()
    async with road.running():
        road.submit()
        asking.cancel()
        road.let.set()
        await road.until(SUCCEEDED)


async def test_a_running_job_that_is_cancelled_makes_room(make_road: Callable[..., Road]) -> None:
    road = make_road()
    async with road.running():
        first, _ = road.submit(2)
        await road.until(RUNNING, QUEUED)
        road.store.move("acme", first.id, cancel)
        road.runner.cancel(first.id)
        await road.until(JobState.CANCELLED, RUNNING)
        road.let.set()
        await road.until(JobState.CANCELLED, SUCCEEDED)


async def test_what_runs_goes_back_when_the_platform_stops(make_road: Callable[..., Road]) -> None:
    road = make_road()
    async with road.running():
        road.submit()
        await road.until(RUNNING)
    (job,) = road.store.jobs("acme", 1)
    assert (job.state, job.attempts) == (QUEUED, 0)
    assert road.world.service.under_way == 0


async def test_a_lease_is_extended_while_a_job_runs_and_given_up_when_lost(
    make_road: Callable[..., Road], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0.01)
    road = make_road()
    async with road.running():
        (job,) = road.submit()
        await road.until(RUNNING)
        before = road.store.job("acme", job.id).lease_until
        await eventually(lambda: road.store.job("acme", job.id).lease_until > before)
        road.store.move("acme", job.id, cancel)  # elsewhere: nobody tells this runner
        await eventually(lambda: not road.runner._running)
    assert road.states() == [JobState.CANCELLED]


async def test_a_store_that_is_away_for_a_while_ends_nothing(
    make_road: Callable[..., Road], monkeypatch: pytest.MonkeyPatch
) -> None:
    road = make_road()
    road.let.set()
    claim_next, left = road.store.claim_next, [3]

    def away(*given: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise Unavailable("jobs.db", "is locked")
        return claim_next(*given)

    monkeypatch.setattr(road.store, "claim_next", away)
    async with road.running():
        road.submit()
        await road.until(SUCCEEDED)
    assert left == [0]


async def test_a_job_that_is_cancelled_before_it_begins_leaves_room_for_the_next(
    make_road: Callable[..., Road],
) -> None:
    road = make_road()
    one, started = road.runner._one, list[str]()

    def cancelled_at_once(job: Job) -> Any:
        if not started:
            started.append(job.id)
            road.store.move("acme", job.id, cancel)
            # The loop gets to it before the task's first step, as where a cancel comes while the job is claimed.
            asyncio.get_running_loop().call_soon(road.runner._give_up, job.id)
        return one(job)

    road.runner._one = cancelled_at_once  # type: ignore[method-assign]
    road.let.set()
    async with road.running():
        road.submit(2)
        await road.until(JobState.CANCELLED, SUCCEEDED)
    assert not road.runner._running


async def test_a_store_that_is_away_when_a_job_is_cancelled_does_not_end_the_runner(
    make_road: Callable[..., Road], monkeypatch: pytest.MonkeyPatch
) -> None:
    road = make_road()
    async with road.running():
        first, _ = road.submit(2)
        await road.until(RUNNING, QUEUED)
        road.store.move("acme", first.id, cancel)
        with monkeypatch.context() as patched:
            patched.setattr(road.store, "move", _away)
            road.runner.cancel(first.id)
            await eventually(lambda: first.id not in road.runner._running)
        road.let.set()
        await road.until(JobState.CANCELLED, SUCCEEDED)


async def test_a_store_that_is_away_when_the_platform_stops_is_no_fault(
    make_road: Callable[..., Road], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    road = make_road()
    async with road.running():
        road.submit()
        await road.until(RUNNING)
        monkeypatch.setattr(road.store, "move", _away)
    assert road.states() == [RUNNING]  # until its lease ends
    assert "cannot be given back" in caplog.text


async def test_what_is_claimed_while_the_platform_stops_goes_back(make_road: Callable[..., Road]) -> None:
    road = make_road()
    claim_next, claiming, go_on = road.store.claim_next, threading.Event(), threading.Event()

    def slow(*given: Any) -> Any:
        claiming.set()
        assert go_on.wait(30)
        return claim_next(*given)

    road.store.claim_next = slow  # type: ignore[method-assign]
    road.submit()
    task = asyncio.create_task(road.runner.keep_running())
    await asyncio.to_thread(claiming.wait, 30)
    task.cancel()
    go_on.set()
    with suppress(asyncio.CancelledError):
        await task
    (job,) = road.store.jobs("acme", 1)
    assert (job.state, job.attempts) == (QUEUED, 0)


def _away(*_: Any, **__: Any) -> Any:
    raise Unavailable("jobs.db", "is locked")
