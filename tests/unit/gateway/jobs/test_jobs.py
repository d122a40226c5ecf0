"""What callers may do with jobs, and what becomes of a job whose message was lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.auth import Principal
from gateway.errors import (
    BadRequest,
    GatewayError,
    JobOver,
    KeyConflict,
    TooManyJobs,
    Unavailable,
    UnknownTask,
    Unprocessable,
)
from gateway.jobs.jobs import MOST_LISTED, Jobs
from registry.errors import Unavailable as StoreUnavailable
from registry.jobs import AGAIN_S, Job, JobState, claim, succeed
from registry.stores.jobs import MemoryJobs
from runtime.errors import InvalidBody, InvalidTensor

ALICE, BOB, EVE = Principal("alice", "acme"), Principal("bob", "acme"), Principal("eve", "globex")
BODY = b'{"inputs": [[1, 2, 3]]}'


@dataclass
class Desk:
    """Jobs over a store in memory, and what was sent."""

    service: Any
    now: float = 1_800_000_000.0
    sent: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    broken: bool = False
    serial: int = 0

    def __post_init__(self) -> None:
        self.store = MemoryJobs(wall=lambda: self.now)
        self.jobs = Jobs(
            self.service,
            self.store,
            send=self.send,
            cancelled=lambda job: self.cancelled.append(job.id),
            most_open=3,
            wall=lambda: self.now,
            random=self.random,
        )

    def send(self, job: Job) -> None:
        if self.broken:
            raise StoreUnavailable("queue", "does not answer")
        self.sent.append(job.id)

    def random(self, count: int) -> bytes:
        self.serial += 1
        return self.serial.to_bytes(count, "big")

    def run(self, job: Job, result: bytes = b'{"outputs": 1}') -> None:
        self.store.move(job.tenant, job.id, lambda j, now: claim(j, now, holder="w", lease_s=30.0))
        self.store.move(job.tenant, job.id, lambda j, now: succeed(j, now, holder="w"), result=result)


@pytest.fixture
async def desk(make_world: Callable[..., Any]) -> Desk:
    return Desk(make_world().service)


async def test_a_job_is_kept_then_sent_and_found_by_its_tenant(desk: Desk) -> None:
    job = desk.jobs.submit(ALICE, "sum", BODY)
    assert (job.state, job.task, job.tenant) == (JobState.QUEUED, "sum", "acme")
    assert desk.sent == [job.id]
    assert desk.store.body(job) == BODY
    assert desk.jobs.find(BOB, job.id) == (job, None)
    desk.run(job)
    found, result = desk.jobs.find(BOB, job.id)
    assert (found.state, result) == (JobState.SUCCEEDED, b'{"outputs": 1}')
    assert desk.jobs.newest(BOB, 10) == (found,)
    assert desk.jobs.newest(EVE, 10) == ()


async def test_another_tenants_job_is_unknown(desk: Desk) -> None:
    job = desk.jobs.submit(ALICE, "sum", BODY)
    for attempt in (desk.jobs.find, desk.jobs.cancel):
        for id_ in (job.id, "0" * 31, "", "../../etc", "x" * 5000):
            with pytest.raises(UnknownTask):
                attempt(EVE, id_)
    assert desk.jobs.find(ALICE, job.id)[0] == job


@pytest.mark.parametrize(
    ("task", "body", "key", "error"),
    [
        ("none", BODY, None, UnknownTask),
        ("private", BODY, None, GatewayError),
        ("sum", b"{", None, InvalidBody),
        ("sum", b"[1]", None, BadRequest),
        ("sum", b"{}", None, Unprocessable),
        ("sum", b'{"inputs": [[1, 2]]}', None, Unprocessable),
        ("sum", b'{"inputs": [["a", 2, 3]]}', None, InvalidTensor),
        ("sum", b'{"inputs": [[1, 2, 3]], "slo": {"latency": 1}}', None, Unprocessable),
        ("sum", b'{"inputs": [[1, 2, 3]], "slo": 1}', None, Unprocessable),
        ("sum", b'{"inputs": [[1, 2, 3]], "id": "a b"}', None, Unprocessable),
        ("sum", BODY, "", Unprocessable),
        ("sum", BODY, "k" * 256, Unprocessable),
        ("sum", BODY, "k\n", Unprocessable),
    ],
)
async def test_what_a_prediction_would_refuse_is_refused_at_once(
    desk: Desk, task: str, body: bytes, key: str | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        desk.jobs.submit(ALICE, task, body, key)
    assert desk.jobs.newest(ALICE, 10) == ()
    assert desk.sent == []


async def test_a_key_is_one_job_and_stands_for_its_submission(desk: Desk) -> None:
    job = desk.jobs.submit(ALICE, "sum", BODY, "k")
    assert desk.jobs.submit(BOB, "sum", BODY, "k") == job
    assert desk.sent == [job.id, job.id]
    with pytest.raises(KeyConflict, match=job.id):
        desk.jobs.submit(ALICE, "sum", BODY + b" ", "k")
    desk.run(job)
    assert desk.jobs.submit(ALICE, "sum", BODY, "k").state is JobState.SUCCEEDED
    assert len(desk.sent) == 2


async def test_too_many_are_refused_with_when_to_try_again(desk: Desk) -> None:
    jobs = [desk.jobs.submit(ALICE, "sum", BODY) for _ in range(3)]
    with pytest.raises(TooManyJobs) as refused:
        desk.jobs.submit(BOB, "sum", BODY)
    assert (refused.value.status, refused.value.details["retry_after_s"] > 0) == (429, True)
    desk.jobs.submit(EVE, "sum", BODY)
    desk.jobs.cancel(ALICE, jobs[0].id)
    desk.jobs.submit(BOB, "sum", BODY)


async def test_what_was_kept_and_not_sent_is_sent_by_the_next_try(desk: Desk) -> None:
    desk.broken = True
    with pytest.raises(Unavailable, match="could not be queued") as refused:
        desk.jobs.submit(ALICE, "sum", BODY, "k")
    desk.broken = False
    job = desk.jobs.submit(ALICE, "sum", BODY, "k")
    assert refused.value.details["job"] == job.id
    assert desk.sent == [job.id]


async def test_a_job_whose_message_was_lost_is_sent_when_somebody_looks(desk: Desk) -> None:
    job = desk.jobs.submit(ALICE, "sum", BODY)
    desk.now += AGAIN_S - 1.0
    desk.jobs.find(ALICE, job.id)
    assert len(desk.sent) == 1
    desk.now += 1.0
    for _ in range(3):
        desk.jobs.find(ALICE, job.id)
    assert desk.sent == [job.id, job.id]
    desk.run(job)
    desk.now += AGAIN_S
    desk.jobs.find(ALICE, job.id)
    assert len(desk.sent) == 2


async def test_cancelling_ends_what_has_not_ended_and_tells_who_runs_it(desk: Desk) -> None:
    job = desk.jobs.submit(ALICE, "sum", BODY)
    assert desk.jobs.cancel(BOB, job.id).state is JobState.CANCELLED
    assert desk.jobs.cancel(BOB, job.id).state is JobState.CANCELLED
    assert set(desk.cancelled) == {job.id}
    other = desk.jobs.submit(ALICE, "sum", BODY)
    desk.run(other)
    with pytest.raises(JobOver) as refused:
        desk.jobs.cancel(ALICE, other.id)
    assert refused.value.status == 409


@pytest.mark.parametrize("limit", [0, -1, MOST_LISTED + 1])
async def test_lists_have_bounds(desk: Desk, limit: int) -> None:
    with pytest.raises(Unprocessable, match="limit"):
        desk.jobs.newest(ALICE, limit)


async def test_a_store_that_is_away_is_a_503(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("jobs.db", json.dumps("full"))

    for name in ("submit", "job", "jobs", "move"):
        monkeypatch.setattr(desk.store, name, away)
    for attempt in (
        lambda: desk.jobs.submit(ALICE, "sum", BODY),
        lambda: desk.jobs.find(ALICE, "0" * 31),
        lambda: desk.jobs.newest(ALICE, 1),
        lambda: desk.jobs.cancel(ALICE, "0" * 31),
    ):
        with pytest.raises(Unavailable, match="jobs cannot be reached"):
            attempt()
