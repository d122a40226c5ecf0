"""Jobs in the cloud: their messages, and one batch of them carried out; a message is left in its queue or done with.

Messages come at least once, in any order. A job is claimed once, so one message too many finds it held or ended. Left
are those whose jobs are held, or could not be made yet: they become visible again when that may have changed.

The jobs of a batch run side by side, but for those that were begun before: what ended their holder may have been one of
them, and is not to take the others along time and again, so each of these runs alone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from functions.aws.queue import Queue
from functions.aws.replies import BODY_LIMIT
from functions.aws.turns import Turns
from gateway.issuer import Issuer
from gateway.jobs.carry_out import carry_out
from gateway.service import Service
from registry.errors import NotFound, Unavailable
from registry.jobs import Job, JobStore, claim
from registry.stores.dynamodb_jobs import DynamoJobs
from registry.stores.dynamodb_table import DynamoTable
from registry.stores.job_parts import BucketParts
from registry.tenants import tenant_hash

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

log = logging.getLogger(__name__)

RESULT_LIMIT = BODY_LIMIT - 10_000
"""Most bytes of a result: whatever is in it, it can be asked for, with what is said of its job."""

MARGIN_S = 5.0
"""Kept of the function's own time to say what came of it."""

ALONE_S = 40.0
"""Least of the function's time that a job which runs alone begins with: a worker has 30 s. Its message is left else."""

LEASE_MARGIN_S = 10.0
"""Beyond the function's own time: until then nobody else takes its jobs for abandoned."""

MOST_RECEIVES = 20
"""Of a message, before its queue gives it to the dead letters (template.yaml); the last one ends its job."""

LONGEST_S = 900
"""Between two receives of one message: with MOST_RECEIVES, a job is tried for some three hours."""


class Left(Exception):
    """A message stays in its queue."""


class BegunBefore(Exception):
    """A job would be begun another time, and is to be alone then."""


class Visibility(Protocol):
    """Says when a message that is left is seen again."""

    def hide(self, receipt: str, for_s: int) -> None:
        """Hide a message, by its receipt, for so many seconds from now; raises Unavailable."""


def message(job: Job) -> str:
    """What the queue is told of a job."""
    return json.dumps({"tenant": job.tenant, "job": job.id})


class Begin(Protocol):
    """How a job is claimed."""

    def __call__(self, job: Job, now: float, *, holder: str, lease_s: float) -> Job:
        """See `registry.jobs.claim`."""


def first(job: Job, now: float, *, holder: str, lease_s: float) -> Job:
    """The job, claimed as by `claim` where it was never begun; raises BegunBefore where it was, and could be again."""
    claimed = claim(job, now, holder=holder, lease_s=lease_s)
    if claimed.attempts > max(1, job.attempts):
        raise BegunBefore(job.id)
    return claimed


def open_jobs(table: DynamoTable, bucket: str) -> JobStore:
    """The jobs of a table and a bucket."""
    return DynamoJobs(table, BucketParts(bucket))


def sender(queue: Queue) -> Callable[[Job], None]:
    """What tells a queue of jobs that wait: whoever submits many keeps nobody else's waiting."""
    return lambda job: queue.send(message(job), group=tenant_hash(job.tenant))


@dataclass(frozen=True, slots=True)
class Carrier:
    """Carries out what messages name, each within the time that the function has."""

    service: Service
    store: JobStore
    queue: Visibility
    refresh: Callable[[], None]
    """Called before a job is decided; for the service's loop."""
    wall: Callable[[], float] = time.time
    issuer: Issuer | None = None
    turns: Turns = field(default_factory=Turns)

    async def carry(self, record: SQSRecord, left_s: Callable[[], float]) -> None:
        """Have a message's job end; raises Left where that has to wait.

        `left_s` is what the function has left of its time. What raises anything else is left as well, for as long as
        the queue itself hides a message, and is a dead letter in the end.
        """
        receives = int(record.attributes.approximate_receive_count)
        try:
            pause_s = await self._pause_s(record.body, left_s, last=receives >= MOST_RECEIVES)
        except Unavailable as fault:
            log.warning("a job waits: %s", fault)
            pause_s = 0.0
        if pause_s is None:
            return
        for_s = min(max(math.ceil(pause_s), 2**receives), LONGEST_S)
        with suppress(Unavailable):  # then the queue's own time passes
            await asyncio.to_thread(self.queue.hide, record.receipt_handle, for_s)
        raise Left(f"for {for_s} s")

    async def _pause_s(self, body: str, left_s: Callable[[], float], *, last: bool) -> float | None:
        """How long (s) a message's job waits for its next run; None where there is no more to be done."""
        named = json.loads(body)
        tenant, id_ = named["tenant"], named["job"]
        try:
            try:
                with self.turns.together():
                    return await self._tried(tenant, id_, left_s(), first, last=last)
            except BegunBefore:
                async with self.turns.alone():
                    if left_s() < ALONE_S and not last:
                        return 0.0
                    return await self._tried(tenant, id_, left_s(), claim, last=last)
        except NotFound:
            return None

    async def _tried(self, tenant: str, id_: str, left_s: float, begin: Begin, *, last: bool) -> float | None:
        """As `_pause_s`, of a job that is begun if it can be claimed; raises NotFound, and what `begin` raises."""
        self.refresh()
        holder = secrets.token_hex(8)
        step = partial(begin, holder=holder, lease_s=left_s + LEASE_MARGIN_S)
        job = await asyncio.to_thread(self.store.move, tenant, id_, step)
        if job.open and job.holder == holder:
            done = await carry_out(
                job,
                self.service,
                self.store,
                limit_bytes=RESULT_LIMIT,
                cap_s=left_s - MARGIN_S,
                last=last,
                issuer=self.issuer,
            )
            if done is None:
                return None
            job = done
        return job.lease_until - self.wall() if job.open else None
