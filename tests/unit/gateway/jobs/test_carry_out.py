"""What comes of a job's run: a result, another run, or an end."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from gateway.errors import EnvironmentLost, NotReady, Throttled
from gateway.issuer import Issuer
from gateway.jobs.carry_out import GONE, carry_out, hand_back
from gateway.receipts import read
from registry.errors import NotFound
from registry.jobs import ATTEMPTS, LONGEST_PAUSE_S, Job, JobState, cancel, claim, digest_of, job_id, submitted
from registry.model import Objective, Slo
from registry.receipt_keys import MemoryReceiptKeys
from registry.stores.jobs import MemoryJobs

NOW = 1_800_000_000.0
ROWS = [[1.0, 2.0, 3.0]]


class Road:
    """A store in memory with one job, claimed, and the world that makes its prediction."""

    def __init__(self, world: Any, asked: Any = None, task: str = "sum") -> None:
        self.world = world
        self.now = NOW
        self.store = MemoryJobs(wall=lambda: self.now)
        body = json.dumps(asked or {"inputs": ROWS}).encode()
        job = submitted(job_id(NOW, bytes(10)), "acme", task, digest_of(task, body), NOW)
        self.store.submit(job, body)
        self.job = self.claim(job)

    def claim(self, job: Job) -> Job:
        return self.store.move(job.tenant, job.id, partial(claim, holder="w", lease_s=30.0))

    def fail_all(self, *faults: Exception) -> None:
        for backend in self.world.backends.values():
            backend.script.extend(faults)

    async def run(self, **options: Any) -> Job | None:
        return await carry_out(self.job, self.world.service, self.store, **options)


async def test_an_answer_is_the_jobs_result(make_world: Callable[..., Any]) -> None:
    road = Road(make_world())
    done = await road.run()
    assert done is not None
    assert (done.state, done.error) == (JobState.SUCCEEDED, None)
    answer = json.loads(road.store.result(done))
    assert (answer["outputs"], answer["id"], answer["task"]) == ({"y": [[6.0]]}, road.job.id, "sum")
    assert answer["decision"]["slo_met"] is True


async def test_an_answer_comes_with_a_receipt_where_its_tenant_can_judge_it(make_world: Callable[..., Any]) -> None:
    road, keys = Road(make_world()), MemoryReceiptKeys(wall=lambda: NOW)
    catalogue = road.world.snapshots.view()[0]
    issuer = Issuer(road.world.service, keys)
    done = await road.run(issuer=issuer)
    assert done is not None
    assert json.loads(road.store.result(done))["decision"]["receipt"] is None
    road.world.snapshots.replace(
        catalogue.with_tasks(dataclasses.replace(catalogue.tasks["sum"], owner="acme", judged="y"))
    )
    again = Road(road.world)
    done = await again.run(issuer=issuer)
    assert done is not None
    answer = json.loads(again.store.result(done))
    said = read(answer["decision"]["receipt"], keys.find, tenant="acme", task="sum", now=0.0)
    assert (said.decision_id, said.output.tolist()) == (answer["decision"]["decision_id"], [[6.0]])


async def test_no_latency_is_asked_unless_the_job_says_so(make_world: Callable[..., Any]) -> None:
    slo = Slo(latency_ms=1.0, min_accuracy=0.5)
    road = Road(make_world(slo=slo), {"inputs": ROWS, "slo": {"objective": "cost"}, "id": "mine"})
    done = await road.run()
    assert done is not None
    asked = road.world.records[-1].request.slo
    assert (asked.latency_ms, asked.min_accuracy, asked.objective) == (None, 0.5, Objective.COST)
    assert json.loads(road.store.result(done))["id"] == "mine"
    bounded = Road(make_world(slo=slo), {"inputs": ROWS, "slo": {"latency_ms": 500}})
    await bounded.run()
    assert bounded.world.records[-1].request.slo.latency_ms == 500


async def test_jobs_that_run_together_take_little_more_memory_than_one(
    make_world: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def peak(jobs: int) -> int:
        roads = [Road(make_world(), {"inputs": [[n + 0.5, 1.0, 2.0] for n in range(10_000)]}) for _ in range(jobs)]
        running = asyncio.Barrier(jobs)

        async def predict(*_: Any, **__: Any) -> Any:
            await running.wait()
            raise Throttled("full", 1.0)

        for road in roads:
            monkeypatch.setattr(road.world.service, "predict", predict)
        tracemalloc.start()
        await asyncio.gather(*(road.run() for road in roads))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert await peak(4) < 2 * await peak(1)


async def test_without_room_it_waits_as_if_it_had_not_begun(make_world: Callable[..., Any]) -> None:
    road = Road(make_world())
    road.fail_all(Throttled("full", 2.5))
    back = await road.run()
    assert back is not None
    assert (back.state, back.attempts, back.lease_until) == (JobState.QUEUED, 0, NOW + 2.5)
    assert back.error is not None
    assert back.error.code == "overloaded"


async def test_what_fails_every_time_fails_for_good(make_world: Callable[..., Any]) -> None:
    road = Road(make_world())
    for attempt in range(1, ATTEMPTS + 1):
        road.fail_all(*[NotReady("away")] * 4)
        job = await road.run()
        assert job is not None
        assert job.attempts == attempt
        if attempt < ATTEMPTS:
            assert job.state is JobState.QUEUED
            assert NOW < job.lease_until <= road.now + LONGEST_PAUSE_S
            road.now = job.lease_until
            for backend in road.world.backends.values():
                backend.script.clear()
            road.job = road.claim(job)
    assert job is not None
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error.code == "unavailable"


@pytest.mark.parametrize(
    ("asked", "task", "code"),
    [
        ({"inputs": [[1.0]]}, "sum", "unprocessable"),
        ({"inputs": ROWS, "slo": {"min_accuracy": 0.9999, "on_infeasible": "strict"}}, "sum", "infeasible"),
        ({"inputs": ROWS}, "gone", "not_found"),
    ],
)
async def test_what_no_run_can_mend_ends_at_once(
    make_world: Callable[..., Any], asked: Any, task: str, code: str
) -> None:
    ended = await Road(make_world(), asked, task).run()
    assert ended is not None
    assert (ended.state, ended.attempts) == (JobState.FAILED, 1)
    assert ended.error is not None
    assert ended.error.code == code


async def test_a_fault_of_ours_is_tried_again_and_tells_nothing(make_world: Callable[..., Any]) -> None:
    road = Road(make_world())
    road.fail_all(KeyError("secret"))
    back = await road.run()
    assert back is not None
    assert (back.state, back.attempts) == (JobState.QUEUED, 1)
    assert back.error is not None
    assert back.error.code == "internal"
    assert "secret" not in back.error.message


async def test_a_body_that_was_damaged_is_not_answered(make_world: Callable[..., Any]) -> None:
    road = Road(make_world())
    road.store._kept["acme", road.job.id].body = b'{"inputs": [[9, 9, 9]]}'
    back = await road.run()
    assert back is not None
    assert back.state is JobState.QUEUED
    assert road.world.records == []


async def test_an_answer_over_the_limit_fails(make_world: Callable[..., Any]) -> None:
    ended = await Road(make_world()).run(limit_bytes=10)
    assert ended is not None
    assert ended.error is not None
    assert (ended.state, ended.error.code) == (JobState.FAILED, "too_large")


async def test_what_comes_of_a_cancelled_job_is_discarded(make_world: Callable[..., Any]) -> None:
    road = Road(make_world())
    road.fail_all(EnvironmentLost("gone"))
    road.store.move("acme", road.job.id, cancel)
    assert await road.run() is None
    assert road.store.job("acme", road.job.id).state is JobState.CANCELLED


async def test_what_is_interrupted_goes_back_and_counts_as_none(make_world: Callable[..., Any]) -> None:
    road = Road(make_world())
    hand_back(road.job, road.store)
    job = road.store.job("acme", road.job.id)
    assert (job.state, job.attempts, job.waits(NOW)) == (JobState.QUEUED, 0, True)
    hand_back(road.job, road.store)
    assert road.store.job("acme", road.job.id) == job


async def test_what_is_asked_and_no_longer_there_ends_the_job(
    make_world: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    road = Road(make_world())

    def lost(job: Job) -> bytes:
        raise NotFound("body of job", job.id)

    monkeypatch.setattr(road.store, "body", lost)
    ended = await road.run()
    assert ended is not None
    assert (ended.state, ended.error) == (JobState.FAILED, GONE)
