"""Jobs in the cloud: over the api's routes into a queue, and out of it by batches that come twice, late or too soon."""

from __future__ import annotations

import asyncio
import io
import json
from base64 import b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from benchmarks.fault_client import Died
from functions.api.routes import Routes
from functions.aws.inbox import PREFIX, Inbox
from functions.aws.jobs import ALONE_S, LONGEST_S, MOST_RECEIVES, RESULT_LIMIT, Carrier, Left, sender
from functions.aws.replies import REPLY_LIMIT
from gateway.errors import NotReady, Throttled
from gateway.jobs.carry_out import carry_out
from gateway.jobs.jobs import Jobs
from gateway.schemas import JobResponse, JobsResponse
from registry.errors import Unavailable
from registry.jobs import ATTEMPTS, Job, JobState, claim
from registry.stores.jobs import MemoryJobs
from registry.tenants import tenant_hash
from runtime.codecs.text import dumps

ADA, EVE = "arn:aws:iam::123456789012:user/ada", "arn:aws:iam::999999999999:user/eve"
ASKED = {"inputs": [[1.5, 2.0]]}
LEFT_S = 80.0


@dataclass
class Cloud:
    """The api, the queue between, and what carries its messages out."""

    api: Any
    make_event: Callable[..., dict[str, Any]]
    now: float = 1_800_000_000.0
    queue: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    """Whose each message is, to a queue that is fair."""
    hidden: list[int] = field(default_factory=list)
    away: bool = False
    """Whether the queue refuses."""
    stale: bool = False
    """Whether the catalogue cannot be read."""
    left_s: float = LEFT_S
    """Of the function's time."""
    work: list[asyncio.Task[None]] = field(default_factory=list)
    """Of the batch under way, message by message."""

    def __post_init__(self) -> None:
        self.store = MemoryJobs(wall=lambda: self.now)
        jobs = Jobs(self.api.service, self.store, send=sender(self), wall=lambda: self.now, most_open=3)  # type: ignore[arg-type]
        self.inbox = Inbox("bucket", self)
        self.put: dict[str, bytes] = {}
        self.routes = Routes(self.api.service, self.api.routes._identify, jobs=jobs, inbox=self.inbox)
        self.carrier = Carrier(self.api.service, self.store, self, self.refresh, wall=lambda: self.now)

    class exceptions:  # noqa: N801 - as an S3 client names it
        NoSuchKey = KeyError

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        data = self.put[Key]
        return {"Body": io.BytesIO(data), "ContentLength": len(data)}

    def puts(self, data: bytes, tenant: str = "123456789012/user/ada") -> str:
        """Inputs into a tenant's inbox; the reference to them."""
        reference = f"{len(self.put):032x}"
        self.put[f"{PREFIX}{tenant_hash(tenant)}/{reference}"] = data
        return reference

    def send(self, body: str, *, delay_s: int = 0, group: str = "") -> None:
        if self.away:
            raise Unavailable("queue", "throttled")
        self.queue.append(body)
        self.groups.append(group)

    def hide(self, receipt: str, for_s: int) -> None:
        if self.away:
            raise Unavailable("queue", "throttled")
        self.hidden.append(for_s)

    def refresh(self) -> None:
        if self.stale:
            raise Unavailable("table", "does not answer")

    async def ask(self, method: str, path: str, body: Any = None, arn: str = ADA, **headers: str) -> tuple[int, Any]:
        path, _, query = path.partition("?")
        event = self.make_event(method, path, body, arn)
        event["headers"] |= headers
        event["queryStringParameters"] = dict(pair.split("=") for pair in query.split("&")) if query else None
        answer = await self.routes.answer(event, object())
        document = json.loads(answer["body"])
        return int(answer["statusCode"]), document

    async def submit(self, **headers: str) -> dict[str, Any]:
        status, job = await self.ask("POST", "/v1/tasks/sum/jobs", ASKED, **headers)
        assert status == 202
        return dict(job)

    async def deliver(self, body: str | None = None, receives: int = 1) -> None:
        """One message to the function, which is left in its queue where this raises."""
        record = {
            "body": body or self.queue[-1],
            "receiptHandle": "r",
            "attributes": {"ApproximateReceiveCount": str(receives)},
        }
        await self.carrier.carry(SQSRecord(record), lambda: self.left_s)

    async def batch(self, bodies: Sequence[str], receives: int = 1) -> list[str]:
        """Messages of one batch to one function, which may die of one of them; those that are left."""
        self.work = [asyncio.create_task(self.deliver(body, receives)) for body in bodies]
        came = await asyncio.gather(*self.work, return_exceptions=True)
        died = any(isinstance(each, Died) for each in came)
        return [body for body, each in zip(bodies, came, strict=True) if died or each is not None]

    def die(self) -> None:
        """The function ends, and all that it has under way."""
        for each in self.work:
            if each is not asyncio.current_task():
                each.cancel()
        raise Died

    def state(self, id_: str) -> JobState:
        return self.store.job("123456789012/user/ada", id_).state

    def fail_all(self, *faults: Exception) -> None:
        for backend in self.api.backends.values():
            backend.script.clear()
            backend.script.extend(faults)


@pytest.fixture
def cloud(api: Any, make_event: Callable[..., dict[str, Any]]) -> Cloud:
    return Cloud(api, make_event)


# Over the api


async def test_inputs_by_reference_are_kept_with_the_job_and_taken_once_for_a_key(cloud: Cloud) -> None:
    body = {"slo": {"min_accuracy": 0.5}, "inputs_ref": cloud.puts(b"[[1.5, 2.0]]")}
    status, job = await cloud.ask("POST", "/v1/tasks/sum/jobs", body, **{"idempotency-key": "k"})
    assert status == 202
    assert await cloud.ask("POST", "/v1/tasks/sum/jobs", body, **{"idempotency-key": "k"}) == (202, job)
    cloud.put.clear()  # an inbox forgets sooner than a queue may take
    await cloud.deliver()
    _, done = await cloud.ask("GET", f"/v1/jobs/{job['id']}")
    assert done["result"]["outputs"] == {"y": [3.5]}


async def test_inputs_are_either_sent_or_in_the_callers_own_inbox(cloud: Cloud) -> None:
    foreign, more = cloud.puts(b"[[1, 2]]", tenant="globex"), cloud.puts(b'[[1, 2]], "slo": {"latency_ms": 1}')
    for body, expected in (
        ({"inputs_ref": foreign}, 404),
        ({"inputs_ref": more}, 400),
        ({"inputs_ref": cloud.puts(b"[[1]]")}, 422),
        ({"inputs_ref": "../x"}, 422),
        ({"inputs_ref": None}, 422),
        ({**ASKED, "inputs_ref": more}, 422),
        ({**ASKED, "inputs_ref": None}, 202),
    ):
        assert (await cloud.ask("POST", "/v1/tasks/sum/jobs", body))[0] == expected, body
    assert len(cloud.queue) == 1


async def test_a_job_is_accepted_made_and_fetched(cloud: Cloud) -> None:
    job = await cloud.submit()
    assert JobResponse.model_validate(job).state is JobState.QUEUED
    assert json.loads(cloud.queue[0]) == {"tenant": "123456789012/user/ada", "job": job["id"]}
    await cloud.deliver()
    status, done = await cloud.ask("GET", f"/v1/jobs/{job['id']}")
    assert (status, done["state"], done["result"]["outputs"]) == (200, "succeeded", {"y": [3.5]})
    assert JobResponse.model_validate(done).result is not None


async def test_the_queue_is_told_whose_a_job_is_and_not_who_that_is(cloud: Cloud) -> None:
    await cloud.submit()
    await cloud.submit()
    assert cloud.groups == [tenant_hash("123456789012/user/ada")] * 2


@pytest.mark.parametrize("text", ['"', "\\", "é", "\x00"])
async def test_the_largest_result_can_be_fetched_whatever_is_in_it(cloud: Cloud, text: str) -> None:
    says = text * ((RESULT_LIMIT - 2_000) // (len(dumps(text)) - len(b'""')))
    cloud.api.say(says)
    job = await cloud.submit()
    await cloud.deliver()

    answer = await cloud.routes.answer(cloud.make_event("GET", f"/v1/jobs/{job['id']}", None, ADA), object())

    assert len(json.dumps(answer, ensure_ascii=False).encode()) <= REPLY_LIMIT
    body = b64decode(answer["body"]) if answer["isBase64Encoded"] else answer["body"]
    assert json.loads(body)["result"]["outputs"] == {"y": [says]}


async def test_the_answer_says_where_the_job_is(cloud: Cloud) -> None:
    answer = await cloud.routes.answer(cloud.make_event("POST", "/v1/tasks/sum/jobs", ASKED, ADA), object())
    assert answer["headers"]["location"] == f"/v1/jobs/{json.loads(answer['body'])['id']}"


async def test_lists_cancelling_and_other_tenants(cloud: Cloud) -> None:
    made = [(await cloud.submit())["id"] for _ in range(2)]
    status, listed = await cloud.ask("GET", "/v1/jobs?limit=1")
    assert (status, JobsResponse.model_validate(listed).jobs[0].id) == (200, max(made))
    assert (await cloud.ask("GET", "/v1/jobs", arn=EVE))[1] == {"jobs": []}
    for method in ("GET", "DELETE"):
        assert (await cloud.ask(method, f"/v1/jobs/{made[0]}", arn=EVE))[0] == 404
    assert (await cloud.ask("DELETE", f"/v1/jobs/{made[0]}"))[1]["state"] == "cancelled"
    await cloud.deliver(cloud.queue[0])
    assert cloud.state(made[0]) is JobState.CANCELLED
    await cloud.deliver(cloud.queue[1])
    status, refused = await cloud.ask("DELETE", f"/v1/jobs/{made[1]}")
    assert (status, refused["error"]["code"]) == (409, "job_ended")


async def test_one_key_is_one_job_however_a_header_is_spelt(cloud: Cloud) -> None:
    first = await cloud.submit(**{"idempotency-key": "k"})
    assert (await cloud.submit(**{"Idempotency-Key": "k"}))["id"] == first["id"]
    other = await cloud.ask("POST", "/v1/tasks/sum/jobs", {"inputs": [[9, 9]]}, **{"idempotency-key": "k"})
    assert (other[0], other[1]["error"]["code"]) == (409, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/tasks/none/jobs", ASKED, 404),
        ("POST", "/v1/tasks/sum/jobs", {}, 422),
        ("POST", "/v1/tasks/sum/jobs", {"inputs": [[1]]}, 422),
        ("POST", "/v1/tasks/sum/jobs", {**ASKED, "slo": {"latency_ms": -1}}, 422),
        ("POST", "/v1/tasks/sum/jobs", "{", 400),
        ("GET", "/v1/jobs/none", None, 404),
        ("GET", "/v1/jobs?limit=0", None, 422),
        ("GET", "/v1/jobs?limit=201", None, 422),
    ],
)
async def test_bad_input_is_refused(cloud: Cloud, method: str, path: str, body: Any, status: int) -> None:
    actual, refused = await cloud.ask(method, path, body)
    assert (actual, set(refused)) == (status, {"error"})
    assert cloud.queue == []


async def test_too_many_are_refused_until_some_have_ended(cloud: Cloud) -> None:
    for _ in range(3):
        await cloud.submit()
    status, refused = await cloud.ask("POST", "/v1/tasks/sum/jobs", ASKED)
    assert (status, refused["error"]["code"]) == (429, "too_many_jobs")
    await cloud.deliver()
    await cloud.submit()


async def test_what_could_not_be_queued_is_queued_by_the_next_try(cloud: Cloud) -> None:
    cloud.away = True
    key = {"idempotency-key": "k"}
    status, refused = await cloud.ask("POST", "/v1/tasks/sum/jobs", ASKED, **key)
    assert (status, refused["error"]["code"]) == (503, "unavailable")
    cloud.away = False
    job = await cloud.submit(**key)
    assert refused["error"]["job"] == job["id"]
    await cloud.deliver()
    assert cloud.state(job["id"]) is JobState.SUCCEEDED


async def test_without_jobs_there_are_none(api: Any) -> None:
    status, refused = await api("POST", "/v1/tasks/sum/jobs", ASKED)
    assert (status, refused["error"]["message"]) == (404, "no jobs are taken here; ask for predictions")


# Out of the queue


async def test_a_message_that_comes_twice_makes_one_answer(cloud: Cloud) -> None:
    job = await cloud.submit()
    await cloud.deliver()
    first = cloud.store.job("123456789012/user/ada", job["id"])
    await cloud.deliver()
    assert cloud.store.job("123456789012/user/ada", job["id"]) == first
    assert len(cloud.api.service.log) == 1


async def test_of_two_deliveries_at_once_one_is_left_until_the_other_has_ended(cloud: Cloud) -> None:
    job = await cloud.submit()
    came = await asyncio.gather(cloud.deliver(), cloud.deliver(), return_exceptions=True)
    assert sorted(type(each).__name__ for each in came) == ["Left", "NoneType"]
    assert len(cloud.api.service.log) == 1
    assert cloud.state(job["id"]) is JobState.SUCCEEDED
    assert LEFT_S < cloud.hidden[0] <= LONGEST_S


async def test_without_capacity_a_message_is_left_ever_longer_and_no_attempt_is_counted(cloud: Cloud) -> None:
    job = await cloud.submit()
    for receives in (1, 5, 12):
        cloud.fail_all(*[Throttled("full", 0.0)] * 4)
        with pytest.raises(Left):
            await cloud.deliver(receives=receives)
        found = cloud.store.job("123456789012/user/ada", job["id"])
        assert (found.state, found.attempts) == (JobState.QUEUED, 0)
        cloud.now = found.lease_until
    assert cloud.hidden == sorted(cloud.hidden)
    assert cloud.hidden[-1] == LONGEST_S
    cloud.fail_all()
    await cloud.deliver(receives=13)
    assert cloud.state(job["id"]) is JobState.SUCCEEDED


async def test_the_last_receive_of_a_message_ends_its_job(cloud: Cloud) -> None:
    job = await cloud.submit()
    cloud.fail_all(*[Throttled("full", 0.0)] * 4)
    await cloud.deliver(receives=MOST_RECEIVES)
    _, failed = await cloud.ask("GET", f"/v1/jobs/{job['id']}")
    assert (failed["state"], failed["error"]["code"]) == ("failed", "overloaded")


async def test_what_fails_every_time_fails_for_good(cloud: Cloud) -> None:
    job = await cloud.submit()
    for attempt in range(1, ATTEMPTS):
        cloud.fail_all(*[NotReady("away")] * 4)
        with pytest.raises(Left):
            await cloud.deliver(receives=attempt)
        cloud.now += LONGEST_S
    cloud.fail_all(*[NotReady("away")] * 4)
    await cloud.deliver(receives=ATTEMPTS)
    assert cloud.state(job["id"]) is JobState.FAILED


async def test_a_crashed_run_is_made_again_once_its_lease_is_over(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await cloud.submit()

    async def killed(*_: Any, **__: Any) -> Any:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr("functions.aws.jobs.carry_out", killed)
        with pytest.raises(SystemExit):
            await cloud.deliver()
    with pytest.raises(Left):
        await cloud.deliver(receives=2)
    cloud.now += cloud.hidden[-1]
    await cloud.deliver(receives=3)
    found = cloud.store.job("123456789012/user/ada", job["id"])
    assert (found.state, found.attempts) == (JobState.SUCCEEDED, 2)


async def test_a_job_that_ends_its_function_takes_no_other_along(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [(await cloud.submit())["id"] for _ in range(3)]
    begun: list[str] = []

    async def deadly(job: Job, *rest: Any, **options: Any) -> Any:
        begun.append(job.id)
        for _ in range(100):  # whoever runs beside it is under way by then
            await asyncio.to_thread(lambda: None)
        if job.id == made[1]:
            cloud.die()
        return await carry_out(job, *rest, **options)

    monkeypatch.setattr("functions.aws.jobs.carry_out", deadly)
    left, receives = list(cloud.queue), 0
    while left:
        receives += 1
        left = await cloud.batch(left, receives)
        cloud.now += LONGEST_S
    assert [cloud.state(id_) for id_ in made] == [JobState.SUCCEEDED, JobState.FAILED, JobState.SUCCEEDED]
    assert sorted(begun[:3]) == sorted(made)  # together, as long as nothing is known of them
    assert (begun.count(made[1]), receives) == (ATTEMPTS, ATTEMPTS + 1)


async def test_what_is_to_run_alone_is_left_where_too_little_time_is(cloud: Cloud) -> None:
    job = await cloud.submit()
    begin = partial(claim, holder="dead", lease_s=1.0)
    cloud.store.move("123456789012/user/ada", job["id"], begin)
    cloud.now += 1.0
    cloud.left_s = ALONE_S - 1
    with pytest.raises(Left):
        await cloud.deliver(receives=2)
    assert cloud.store.job("123456789012/user/ada", job["id"]).holder == "dead"
    cloud.left_s = ALONE_S
    await cloud.deliver(receives=3)
    assert cloud.state(job["id"]) is JobState.SUCCEEDED


async def test_what_is_to_run_alone_runs_at_its_last_receive_however_little_time_is(cloud: Cloud) -> None:
    job = await cloud.submit()
    cloud.store.move("123456789012/user/ada", job["id"], partial(claim, holder="dead", lease_s=1.0))
    cloud.now += 1.0
    cloud.left_s = ALONE_S - 1
    await cloud.deliver(receives=MOST_RECEIVES)
    assert cloud.state(job["id"]) is JobState.SUCCEEDED


async def test_a_message_of_no_job_is_done_with(cloud: Cloud) -> None:
    await cloud.deliver(json.dumps({"tenant": "123456789012/user/ada", "job": "0" * 31}))
    assert cloud.hidden == []


@pytest.mark.parametrize("body", ["{", "[]", "{}", '{"job": "x"}'])
async def test_what_is_no_message_is_left_for_the_dead_letters(cloud: Cloud, body: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        await cloud.deliver(body)
    assert cloud.hidden == []


async def test_while_the_table_is_away_a_message_is_left(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await cloud.submit()
    cloud.stale = True
    with pytest.raises(Left):
        await cloud.deliver()
    assert cloud.state(job["id"]) is JobState.QUEUED
    cloud.away = True
    with pytest.raises(Left):
        await cloud.deliver()
    cloud.stale = cloud.away = False
    await cloud.deliver()
    assert cloud.state(job["id"]) is JobState.SUCCEEDED
