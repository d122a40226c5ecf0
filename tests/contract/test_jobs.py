"""What every store of jobs keeps to, whichever it is."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import boto3
import pytest

from benchmarks.fault_client import RepeatingClient, make_table
from registry.errors import ClaimLost, JobEnded, KeyReused, NotFound, TooManyJobs, Unavailable
from registry.jobs import (
    ABANDONED,
    ATTEMPTS,
    KEPT_S,
    LONGEST_PAUSE_S,
    SKEW_S,
    Job,
    JobError,
    JobQueue,
    JobState,
    JobStore,
    Step,
    cancel,
    claim,
    extend,
    fail,
    give_back,
    job_id,
    submitted,
    succeed,
)
from registry.stores.dynamodb_jobs import DynamoJobs
from registry.stores.dynamodb_table import DynamoTable
from registry.stores.job_parts import BucketParts, FolderParts
from registry.stores.jobs import MemoryJobs, SqliteJobs

START = 1_800_000_000.0
LARGE = bytes(range(256)) * 2500
"""Over DynamoDB's 400 KB."""
LEASE_S = 30.0
WHY = JobError("overloaded", "full")


@dataclass
class Clock:
    """A wall clock that stands until it is moved."""

    now: float = START

    def __call__(self) -> float:
        return self.now


@dataclass
class Place:
    """Where jobs are kept, to be opened any number of times."""

    clock: Clock
    open: Callable[[], JobStore]
    opened: list[JobStore] = field(default_factory=list)
    serial: Iterator[int] = field(default_factory=itertools.count)

    def store(self) -> JobStore:
        """The same jobs, as another process would open them."""
        self.opened.append(self.open())
        return self.opened[-1]

    def new(self, task: str = "digits", tenant: str = "acme", digest: str = "d") -> Job:
        id_ = job_id(self.clock.now, (next(self.serial) << 8).to_bytes(10, "big"))  # the last digits are the store's
        return submitted(id_, tenant, task, digest, self.clock.now)


@cache
def _client(service: str) -> Any:
    """Made once, in the first of moto's worlds: it speaks to whichever is there."""
    return boto3.client(service)  # type: ignore[call-overload]


def _place(kind: str, request: pytest.FixtureRequest, path: Path) -> Place:
    clock = Clock()
    if kind == "memory":
        memory = MemoryJobs(wall=clock)
        return Place(clock, lambda: memory)
    if kind == "sqlite":
        return Place(clock, lambda: SqliteJobs(path / "jobs.db", FolderParts(path / "parts"), wall=clock))
    request.getfixturevalue("aws")
    make_table(_client("dynamodb"))
    _client("s3").create_bucket(Bucket="modelless")
    table, parts = DynamoTable("facts", _client("dynamodb")), BucketParts("modelless", client=_client("s3"))
    return Place(clock, lambda: DynamoJobs(table, parts, wall=clock))


@pytest.fixture(params=["memory", "sqlite", "dynamodb"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    made = _place(request.param, request, tmp_path)
    yield made
    for store in made.opened:
        store.close()


@pytest.fixture
def store(place: Place) -> JobStore:
    return place.store()


def claimed(store: JobStore, job: Job, holder: str = "w") -> Job:
    return store.move(job.tenant, job.id, partial(claim, holder=holder, lease_s=LEASE_S))


def ended(store: JobStore, job: Job, result: bytes = b"{}", holder: str = "w") -> Job:
    return store.move(job.tenant, job.id, partial(succeed, holder=holder), result=result)


# One job's life


def test_there_is_no_job_before_one_is_submitted(store: JobStore) -> None:
    assert store.jobs("acme", 10) == ()
    with pytest.raises(NotFound):
        store.job("acme", "0" * 31)


@pytest.mark.parametrize("body", [b'{"inputs": [1]}', LARGE], ids=["small", "large"])
def test_a_job_goes_from_submission_to_result_whoever_looks(place: Place, body: bytes) -> None:
    store, other = place.store(), place.store()
    job = store.submit(place.new(), body)
    assert job.state is JobState.QUEUED
    assert other.job("acme", job.id) == job
    running = claimed(other, job)
    assert store.body(running) == body
    place.clock.now += 1.0
    done = ended(other, job, body[::-1])
    assert (done.state, done.ended_at, done.expires_at) == (JobState.SUCCEEDED, START + 1.0, START + 1.0 + KEPT_S)
    assert store.job("acme", job.id) == done
    assert store.result(done) == body[::-1]
    with pytest.raises(NotFound):
        store.body(done)


@pytest.mark.parametrize("place", ["sqlite", "dynamodb"], indirect=True)
def test_whoever_lost_a_job_while_it_reports_does_not_replace_the_result(place: Place) -> None:
    store, other = place.store(), place.store()
    job = claimed(store, store.submit(place.new(), b"{}"), holder="slow")
    looks = itertools.count()

    def overtaken(known: Job, now: float) -> Job:
        moved = succeed(known, now, holder="slow")
        if next(looks) == 0:
            place.clock.now += LEASE_S
            claimed(other, job, holder="quick")
            ended(other, job, LARGE, holder="quick")
        return moved

    for _ in range(2):
        with pytest.raises(ClaimLost):
            store.move("acme", job.id, overtaken, result=LARGE[::-1])
    assert other.result(job) == LARGE


def test_a_job_that_failed_says_why(store: JobStore, place: Place) -> None:
    job, why = store.submit(place.new(), b"{}"), JobError("infeasible", "no placement holds it")
    claimed(store, job)
    store.move("acme", job.id, partial(fail, holder="w", error=why))
    found = store.job("acme", job.id)
    assert (found.state, found.error) == (JobState.FAILED, why)
    with pytest.raises(NotFound):
        store.result(found)


def test_a_tenant_sees_no_other_tenants_jobs(store: JobStore, place: Place) -> None:
    job = store.submit(place.new(), b"{}")
    assert store.jobs("globex", 10) == ()
    with pytest.raises(NotFound):
        store.job("globex", job.id)
    with pytest.raises(NotFound):
        store.move("globex", job.id, cancel)
    assert store.job("acme", job.id) == job


def test_the_newest_come_first_and_no_more_than_asked_for(store: JobStore, place: Place) -> None:
    made = []
    for _ in range(7):
        made.append(store.submit(place.new(), b"{}"))
        place.clock.now += 0.01
    assert store.jobs("acme", 100) == tuple(reversed(made))
    assert store.jobs("acme", 3) == tuple(reversed(made[-3:]))


def test_what_a_step_raises_changes_nothing(store: JobStore, place: Place) -> None:
    job = store.submit(place.new(), b"{}")
    with pytest.raises(ClaimLost):
        ended(store, job)
    assert store.job("acme", job.id) == job
    claimed(store, job)
    done = ended(store, job)
    with pytest.raises(JobEnded):
        store.move("acme", job.id, cancel)
    assert store.job("acme", job.id) == done


# Time


def test_an_ended_job_is_kept_for_a_day_whoever_deletes_it(store: JobStore, place: Place) -> None:
    job = store.submit(place.new(), b"{}")
    claimed(store, job)
    place.clock.now += 3600.0
    done = ended(store, job, LARGE)
    place.clock.now += KEPT_S - 1.0
    assert store.result(store.job("acme", job.id)) == LARGE
    place.clock.now += 1.0
    assert store.jobs("acme", 10) == ()
    with pytest.raises(NotFound):
        store.job("acme", job.id)
    with pytest.raises(NotFound):
        store.move("acme", job.id, cancel)
    assert done.expires_at == place.clock.now


def test_a_job_that_never_ends_is_forgotten_too_and_makes_room(store: JobStore, place: Place) -> None:
    for _ in range(2):
        store.submit(place.new(), b"{}", most=2)
    place.clock.now += KEPT_S
    assert store.jobs("acme", 10) == ()
    store.submit(place.new(), b"{}", most=2)
    assert len(store.jobs("acme", 10)) == 1


def test_whoever_is_gone_is_followed_by_another_until_attempts_are_over(store: JobStore, place: Place) -> None:
    job = store.submit(place.new(), b"body")
    for attempt in range(ATTEMPTS):
        held = claimed(store, job, f"w{attempt}")
        assert (held.holder, held.attempts) == (f"w{attempt}", attempt + 1)
        assert claimed(store, job, "early").holder == f"w{attempt}"
        assert store.body(held) == b"body"
        place.clock.now += LEASE_S
    last = claimed(store, job, "last")
    assert (last.state, last.error) == (JobState.FAILED, ABANDONED)
    with pytest.raises(ClaimLost):
        ended(store, job, holder="w0")


def test_a_lease_is_extended_by_its_holder_alone(store: JobStore, place: Place) -> None:
    job = store.submit(place.new(), b"{}")
    claimed(store, job)
    place.clock.now += LEASE_S - 1.0
    with pytest.raises(ClaimLost):
        store.move("acme", job.id, partial(extend, holder="x", lease_s=LEASE_S))
    longer = store.move("acme", job.id, partial(extend, holder="w", lease_s=LEASE_S))
    assert longer.lease_until == place.clock.now + LEASE_S


# Idempotency


def test_one_key_is_one_job(place: Place) -> None:
    store, other = place.store(), place.store()
    first = store.submit(place.new(digest="a"), b"a", key="k")
    assert other.submit(place.new(digest="a"), b"a", key="k") == first
    claimed(store, first)
    done = ended(store, first)
    assert other.submit(place.new(digest="a"), b"a", key="k") == done
    assert len(store.jobs("acme", 10)) == 1


def test_a_key_stands_for_what_it_was_first_used_for(store: JobStore, place: Place) -> None:
    first = store.submit(place.new(digest="a"), b"a", key="k")
    with pytest.raises(KeyReused, match=first.id):
        store.submit(place.new(digest="b"), b"b", key="k")
    assert store.submit(place.new(tenant="globex", digest="b"), b"b", key="k").id != first.id
    assert store.jobs("acme", 10) == (first,)


def test_a_key_is_free_again_after_a_day(store: JobStore, place: Place) -> None:
    first = store.submit(place.new(digest="a"), b"a", key="k")
    place.clock.now += KEPT_S
    second = store.submit(place.new(digest="b"), b"b", key="k")
    assert second.id != first.id
    assert store.jobs("acme", 10) == (second,)


def test_a_retry_is_answered_where_no_more_jobs_may_come(store: JobStore, place: Place) -> None:
    first = store.submit(place.new(), b"{}", key="k", most=1)
    assert store.submit(place.new(), b"{}", key="k", most=1) == first


# How many


@pytest.mark.parametrize("most", [1, 6])
def test_no_more_than_so_many_are_open(store: JobStore, place: Place, most: int) -> None:
    made = [store.submit(place.new(), b"{}", most=most) for _ in range(most)]
    with pytest.raises(TooManyJobs):
        store.submit(place.new(), b"{}", most=most)
    store.submit(place.new(tenant="globex"), b"{}", most=most)
    claimed(store, made[0])
    with pytest.raises(TooManyJobs):
        store.submit(place.new(), b"{}", most=most)
    ended(store, made[0])
    store.submit(place.new(), b"{}", most=most)
    store.move("acme", made[-1].id, cancel) if most > 1 else None
    assert len(store.jobs("acme", 100)) == most + 1


# Races


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """What each came to, run by as many threads that start together: a value, or the exception."""
    barrier = threading.Barrier(len(works))
    came: list[Any] = [None] * len(works)

    def run(place: int) -> None:
        barrier.wait(timeout=30)
        try:
            came[place] = works[place]()
        except Exception as fault:  # noqa: BLE001 - what is raised is what is asked for
            came[place] = fault

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return came


def test_of_many_claims_one_holds(place: Place) -> None:
    job = place.store().submit(place.new(), b"{}")
    stores = [place.store() for _ in range(4)]
    came = at_once(*(partial(claimed, store, job, f"w{i}") for i, store in enumerate(stores)))
    (held,) = {found.holder for found in came}
    assert place.store().job("acme", job.id).holder == held
    assert place.store().job("acme", job.id).attempts == 1


def test_of_cancelling_and_finishing_one_wins(place: Place) -> None:
    for _ in range(4):
        first, second = place.store(), place.store()
        job = first.submit(place.new(), b"{}")
        claimed(first, job)
        finished, cancelled = at_once(
            partial(ended, first, job, b"result"), partial(second.move, "acme", job.id, cancel)
        )
        found = first.job("acme", job.id)
        if found.state is JobState.SUCCEEDED:
            assert (finished.state, type(cancelled)) == (JobState.SUCCEEDED, JobEnded)
            assert second.result(found) == b"result"
        else:
            assert (type(finished), cancelled.state) == (ClaimLost, JobState.CANCELLED)


def test_submissions_of_one_key_at_once_are_one_job(place: Place) -> None:
    stores = [place.store() for _ in range(4)]
    jobs = [place.new(digest="a") for _ in stores]
    came = at_once(*(partial(s.submit, job, b"a", key="k") for s, job in zip(stores, jobs, strict=True)))
    assert len({found.id for found in came}) == 1, came
    assert len(place.store().jobs("acme", 10)) == 1


def test_given_back_by_one_and_claimed_by_another_at_once_is_held_by_one(place: Place) -> None:
    first, second = place.store(), place.store()
    job = first.submit(place.new(), b"{}")
    claimed(first, job)
    back = partial(give_back, holder="w", error=JobError("overloaded", "full"), counted=False)
    at_once(partial(first.move, "acme", job.id, back), partial(claimed, second, job, "x"))
    found = first.job("acme", job.id)
    assert (found.state, found.attempts) in {(JobState.QUEUED, 0), (JobState.RUNNING, 1)}


BACK_S = 3600.0


@pytest.mark.parametrize("paused", [True, False], ids=["paused", "abandoned"])
def test_no_job_waits_until_a_clock_that_was_set_back_is_there_again(
    paused: bool, store: JobStore, place: Place
) -> None:
    job = claimed(store, store.submit(place.new(), b"{}"))
    if paused:
        back = partial(give_back, holder="w", error=WHY, counted=False, pause_s=LONGEST_PAUSE_S)
        store.move(job.tenant, job.id, back)
    assert claimed(store, job, "next").holder == "w"
    place.clock.now -= BACK_S
    again = claimed(store, job, "next")
    assert (again.holder, again.state) == ("next", JobState.RUNNING)
    assert claimed(store, job, "third").holder == "next"  # by the clock as it is


def test_a_clock_that_is_a_little_behind_shortens_no_wait(store: JobStore, place: Place) -> None:
    job = claimed(store, store.submit(place.new(), b"{}"))
    store.move(job.tenant, job.id, partial(give_back, holder="w", error=WHY, pause_s=LONGEST_PAUSE_S))
    place.clock.now -= SKEW_S
    assert claimed(store, job, "hasty").holder == "w"


# Queues, where the store itself knows who is next


@pytest.fixture(params=["memory", "sqlite"])
def queue_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    made = _place(request.param, request, tmp_path)
    yield made
    for store in made.opened:
        store.close()


@pytest.fixture
def queue(queue_place: Place) -> JobQueue:
    return queue_place.store()  # type: ignore[return-value]


def submit_each(queue: JobQueue, place: Place, *tenants: str) -> list[Job]:
    made = []
    for tenant in tenants:
        place.clock.now += 0.01
        made.append(queue.submit(place.new(tenant=tenant), b"{}"))
    return made


def test_the_oldest_is_next_and_tenants_take_turns(queue: JobQueue, queue_place: Place) -> None:
    a1, a2, a3, b1, c1 = submit_each(queue, queue_place, "a", "a", "a", "b", "c")
    order = []
    for _ in range(5):
        queue_place.clock.now += 1.0
        job = queue.claim_next("w", LEASE_S)
        assert job is not None
        order.append(job.id)
    assert order == [job.id for job in (a1, b1, c1, a2, a3)]
    assert queue.claim_next("w", LEASE_S) is None


def test_what_was_abandoned_is_next_again_and_fails_in_the_end(queue: JobQueue, queue_place: Place) -> None:
    (job,) = submit_each(queue, queue_place, "a")
    for attempt in range(ATTEMPTS):
        held = queue.claim_next("w", LEASE_S)
        assert held is not None
        assert held.attempts == attempt + 1
        assert queue.claim_next("w", LEASE_S) is None
        queue_place.clock.now += LEASE_S
    (later,) = submit_each(queue, queue_place, "a")
    following = queue.claim_next("w", LEASE_S)
    assert following is not None
    assert following.id == later.id
    assert queue.job("a", job.id).error == ABANDONED


def test_what_was_given_back_waits_for_its_pause(queue: JobQueue, queue_place: Place) -> None:
    (job,) = submit_each(queue, queue_place, "a")
    queue.claim_next("w", LEASE_S)
    back = partial(give_back, holder="w", error=JobError("overloaded", "full"), counted=False, pause_s=5.0)
    queue.move("a", job.id, back)
    assert queue.claim_next("w", LEASE_S) is None
    queue_place.clock.now += 5.0
    again = queue.claim_next("w", LEASE_S)
    assert again is not None
    assert (again.id, again.attempts) == (job.id, 1)


@pytest.mark.parametrize("paused", [True, False], ids=["paused", "abandoned"])
def test_what_a_clock_that_was_set_back_left_is_next_too(paused: bool, queue: JobQueue, queue_place: Place) -> None:
    (job,) = submit_each(queue, queue_place, "a")
    queue.claim_next("w", LEASE_S)
    if paused:
        queue.move("a", job.id, partial(give_back, holder="w", error=WHY, counted=False, pause_s=5.0))
    queue_place.clock.now -= BACK_S
    (other,) = submit_each(queue, queue_place, "b")
    queue_place.clock.now += 1.0
    order = [found.id for found in iter(lambda: queue.claim_next("w", LEASE_S), None)]
    assert sorted(order) == sorted((job.id, other.id))


def test_who_was_served_by_a_clock_that_was_set_back_is_not_kept_waiting(queue: JobQueue, queue_place: Place) -> None:
    submit_each(queue, queue_place, "a")
    assert queue.claim_next("w", LEASE_S) is not None
    queue_place.clock.now -= BACK_S
    submit_each(queue, queue_place, "b", "b", "b", "a")
    tenants = []
    for _ in range(3):
        queue_place.clock.now += 1.0
        found = queue.claim_next("w", LEASE_S)
        assert found is not None
        tenants.append(found.tenant)
    assert "a" in tenants[:2]


def test_cancelled_and_forgotten_jobs_are_not_next(queue: JobQueue, queue_place: Place) -> None:
    (gone,) = submit_each(queue, queue_place, "a")
    queue_place.clock.now += KEPT_S
    (cancelled,) = submit_each(queue, queue_place, "a")
    queue.move("a", cancelled.id, cancel)
    assert queue.claim_next("w", LEASE_S) is None
    assert gone.expired(queue_place.clock.now)


def test_of_many_workers_each_gets_another_job(queue: JobQueue, queue_place: Place) -> None:
    made = submit_each(queue, queue_place, *["a"] * 6)
    stores: list[Any] = [queue_place.store() for _ in range(3)]

    def work(store: JobQueue) -> list[str]:
        return [job.id for job in iter(lambda: store.claim_next("w", LEASE_S), None)]

    came = at_once(*(partial(work, store) for store in stores))
    assert sorted(itertools.chain(*came)) == sorted(job.id for job in made)


# Faults


def test_a_store_that_cannot_be_reached_says_so(place: Place, request: pytest.FixtureRequest) -> None:
    store = place.store()
    if isinstance(store, MemoryJobs):
        pytest.skip("memory is always there")
    step: Step = cancel
    job = store.submit(place.new(), b"{}")
    if isinstance(store, DynamoJobs):
        _client("dynamodb").delete_table(TableName="facts")
    store.close()
    for attempt in (
        lambda: store.submit(place.new(), b"{}"),
        lambda: store.job("acme", job.id),
        lambda: store.jobs("acme", 1),
        lambda: store.move("acme", job.id, step),
    ):
        with pytest.raises(Unavailable):
            attempt()


def test_no_step_is_lost_for_an_answer_that_was(aws: None) -> None:
    clock = Clock()
    place = Place(clock, lambda: MemoryJobs(wall=clock))
    make_table(_client("dynamodb"))
    store = DynamoJobs(DynamoTable("facts", RepeatingClient(_client("dynamodb"))), BucketParts("none"), wall=clock)  # type: ignore[arg-type]
    job = claimed(store, store.submit(place.new(), b"{}"))
    assert (job.holder, job.attempts) == ("w", 1)
    assert store.move("acme", job.id, partial(extend, holder="w", lease_s=60.0)).lease_until == clock.now + 60
    back = store.move("acme", job.id, partial(give_back, holder="w", error=WHY, counted=False))
    assert (back.state, back.attempts) == (JobState.QUEUED, 0)
