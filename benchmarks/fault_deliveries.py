"""Scenarios of the cloud's consumers: their own code over a queue, a store and a clock that misbehave."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

import numpy as np
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from benchmarks.fault_client import FaultyClient, emulated
from benchmarks.fault_house import TASK, doubled, facts
from benchmarks.fault_queue import FaultyQueue, Message
from benchmarks.fault_tally import End, Phase, Tally
from functions.aws.jobs import Carrier, Left, message
from functions.aws.judging import Judging
from functions.aws.settings import FeedbackSettings
from gateway.backends.fake import FakeBackend, FaultRates, steady
from gateway.service import Service
from gateway.snapshots import Snapshots
from optimizer.accuracy import share
from optimizer.evidence import pack
from registry.errors import RegistryError, Unavailable
from registry.jobs import Job, JobState, Step, digest_of, job_id, submitted
from registry.judgements import Observation, to_message
from registry.model import Recipe, Task, TensorSpec, Variant
from registry.store import update
from registry.stores.dynamodb import DynamoStore
from registry.stores.dynamodb_judgements import DynamoJudgements
from registry.stores.dynamodb_table import DynamoTable
from registry.stores.jobs import MemoryJobs

START = 1_800_000_000.0
BATCH = 10
LEFT_S = 80.0
"""What a function has of its time."""

DAY_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """How likely what is, of every delivery or call."""

    name: str
    twice: float = 0.0
    """A message comes again although it was done with."""
    dies: float = 0.0
    """The function's environment dies under a batch."""
    refused: float = 0.0
    """Store or queue refuse a call, before or after they carried it out."""
    failing: float = 0.0
    """A worker fails or is lost."""
    skew_s: float = 0.0
    """How far the clocks of environments are off, one way and the other."""


JOBS = (
    Scenario("jobs are delivered twice and in no order", twice=0.5),
    Scenario("functions die with batches of jobs", dies=0.3),
    Scenario("table and queue refuse every fifth call for jobs", refused=0.2, twice=0.1),
    Scenario("workers fail under jobs, and clocks differ", failing=0.3, skew_s=5.0, twice=0.2, dies=0.1),
)

JUDGEMENTS = (
    Scenario("judgements are delivered twice and in no order", twice=0.5),
    Scenario("functions die with batches of judgements", dies=0.3, twice=0.1),
    Scenario("the table refuses every tenth call for judgements", refused=0.1, twice=0.1),
)


# ---------------------------------------------------------------------- jobs


@dataclass
class RefusingJobs(MemoryJobs):
    """A store that refuses by chance, before or after it did what it was asked; it counts what ended."""

    random: Random
    refused: float
    now: list[float]
    skew_s: float
    succeeded: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        super().__init__(wall=lambda: self.now[0] + self.random.uniform(-self.skew_s, self.skew_s))

    def move(self, tenant: str, id_: str, step: Step, *, result: bytes | None = None) -> Job:
        """See JobStore."""
        self._may_refuse()
        before = self.job(tenant, id_)
        after = super().move(tenant, id_, step, result=result)
        if before.state is not JobState.SUCCEEDED and after.state is JobState.SUCCEEDED:
            self.succeeded[id_] += 1
        self._may_refuse()
        return after

    def _may_refuse(self) -> None:
        if self.random.random() < self.refused:
            raise Unavailable("table", "throttled")


def run_jobs(scenario: Scenario, jobs: int, seed: int) -> Tally:
    """Submit and deliver until no message is left; raises AssertionError where a job is lost or answered twice."""
    tally = Tally(scenario.name, "stores")
    asyncio.run(_carry(scenario, jobs, seed, tally))
    tally.check()
    return tally


async def _carry(scenario: Scenario, jobs: int, seed: int, tally: Tally) -> None:
    random, now = Random(seed), [START]
    queue = FaultyQueue(random, START, twice=scenario.twice, refused=scenario.refused)
    store = RefusingJobs(random, scenario.refused, now, scenario.skew_s)
    accepted = {}
    for number in range(jobs):
        value = float(number)
        body = json.dumps({"inputs": {"x": [[value, value]]}}).encode()
        job = submitted(job_id(START, number.to_bytes(10, "big")), "acme", TASK, digest_of(TASK, body), START)
        store.submit(job, body, most=jobs)
        while not _sent(queue, job):
            pass  # the caller's retry: accepted is what both were told
        accepted[job.id] = value
    snapshots = Snapshots(facts())
    backends = {
        name: FakeBackend(
            tier,
            emit=snapshots.emit,
            answer=doubled,
            timing=steady(run_ms=1.0),
            faults=FaultRates(lost=scenario.failing / 2, failed=scenario.failing / 2),
            uniform=random.random,
        )
        for name, tier in snapshots.view()[0].tiers.items()
    }
    service = Service(snapshots, backends, probes=False)
    carrier = Carrier(service, store, queue, lambda: None, wall=lambda: now[0])
    async for batch in _batches(queue, now):
        await _deliver(carrier, queue, batch, dies=random.random() < scenario.dies, random=random)
    for id_, value in accepted.items():
        found = store.job("acme", id_)
        _count(tally, found, value, store)
    tally.duplicated += sum(times - 1 for times in store.succeeded.values())
    tally.notes |= {"dead letters": len(queue.dead), "hours": (now[0] - START) / 3600}
    for backend in backends.values():
        await backend.close()


def _count(tally: Tally, job: Job, value: float, store: MemoryJobs) -> None:
    took_s = (job.ended_at or DAY_S) - job.submitted_at
    if job.state is JobState.SUCCEEDED:
        assert json.loads(store.result(job))["outputs"]["y"] == [[2 * value]], "a job's result is wrong"
        tally.ended(Phase.DURING, End.ANSWERED, took_s, DAY_S)
    elif job.state is JobState.FAILED and job.error is not None and job.error.code:
        tally.ended(Phase.DURING, End.CLEAR_ERROR, took_s, DAY_S)
    else:
        tally.jobs_lost += 1


async def _deliver(carrier: Carrier, queue: FaultyQueue, batch: list[Message], *, dies: bool, random: Random) -> None:
    """One batch to one function, which may die before it is through."""

    async def carry(one: Message) -> None:
        record = {
            "body": one.body,
            "receiptHandle": str(one.number),
            "attributes": {"ApproximateReceiveCount": str(one.receives)},
        }
        try:
            await carrier.carry(SQSRecord(record), lambda: LEFT_S)
        except (Left, RegistryError):
            return
        queue.done(one)

    work = [asyncio.create_task(carry(one)) for one in batch]
    if dies:
        await asyncio.sleep(random.random() * 0.005)
        for one in work:
            one.cancel()
    await asyncio.gather(*work, return_exceptions=True)


def _sent(queue: FaultyQueue, job: Job) -> bool:
    try:
        queue.send(message(job))
    except Unavailable:
        return False
    return True


async def _batches(queue: FaultyQueue, now: list[float]) -> Any:
    """What can be seen, batch after batch; where nothing can, time passes until something does."""
    while (next_at := queue.next_at()) is not None:
        now[0] = queue.now = max(queue.now, next_at)
        while batch := queue.receive(BATCH):
            yield batch


# ---------------------------------------------------------------------- judgements

JUDGED = Variant("judged", "only", "blake3:a", Recipe("test"), share(97, 100))
ROWS = 4


def run_judgements(scenario: Scenario, judgements: int, seed: int) -> Tally:
    """Deliver judgements until none is left; raises AssertionError where one is lost, or counts twice."""
    tally = Tally(scenario.name, "stores")
    with emulated() as client:
        random = Random(seed)
        faulty: Any = FaultyClient(client, random, refused=scenario.refused / 2, unanswered=scenario.refused / 2)
        faulty.on = False
        task = Task(
            "judged", (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "INT64", (-1,)),), "accuracy", judged="y"
        )
        update(DynamoStore("facts", client=client), lambda base: base.with_tasks(task).with_variants(JUDGED))
        queue = FaultyQueue(random, START, twice=scenario.twice)
        for number in range(judgements):
            queue.send(_judgement(number))
        faulty.on = True
        failed = _judge(scenario, queue, DynamoTable("facts", faulty), random)
        faulty.on = False
        kept = DynamoJudgements(DynamoTable("facts", client)).last(JUDGED.id, JUDGED.artifact, judgements * ROWS)
        seen = Counter(observation.decision_id for observation in kept)
        dead = {letter.body for letter in queue.dead}
        for number in range(judgements):
            there = f"d{number}" in seen
            tally.jobs_lost += not there and _judgement(number) not in dead
            tally.ended(Phase.DURING, End.ANSWERED if there else End.CLEAR_ERROR, 0.0, DAY_S)
        tally.duplicated += sum(times - 1 for times in seen.values())
        accuracy = DynamoStore("facts", client=client).load().variants[JUDGED.id].accuracy.value
        assert accuracy < JUDGED.accuracy.low, "what was judged wrong a thousand times is still called right"
    tally.notes |= {"batches failed": failed, "dead letters": len(queue.dead)}
    tally.latencies_ms[Phase.DURING].clear()
    tally.check()
    return tally


def _judge(scenario: Scenario, queue: FaultyQueue, table: DynamoTable, random: Random) -> int:
    """Two environments take turns; how many batches failed."""
    environments = [_environment(queue, table) for _ in range(2)]
    failed = 0
    for batch in _waiting(queue):
        at = random.randrange(len(environments))
        read = batch[: random.randrange(len(batch))] if random.random() < scenario.dies else batch
        environments[at].begin()
        try:
            for one in read:
                environments[at].read(one.body)
            if read is batch:
                environments[at].finish()
        except RegistryError:
            failed += 1
            continue
        if read is not batch:
            environments[at] = _environment(queue, table)
            failed += 1
            continue
        for one in batch:
            queue.done(one)
    return failed


def _waiting(queue: FaultyQueue) -> Iterator[list[Message]]:
    while (next_at := queue.next_at()) is not None:
        queue.now = max(queue.now, next_at)
        while batch := list(queue.receive(BATCH)):
            yield batch


def _environment(queue: FaultyQueue, table: DynamoTable) -> Judging:
    sender: Any = queue
    wall: Callable[[], float] = partial(lambda q: q.now, queue)
    return Judging(FeedbackSettings("facts", "queue"), table=table, queue=sender, wall=wall)


def _judgement(number: int) -> str:
    evidence = pack("accuracy", np.zeros(ROWS, np.bool_), np.ones(ROWS, np.bool_))
    return to_message(Observation(f"d{number}", JUDGED.id, JUDGED.artifact, number + 1, ROWS, evidence))
