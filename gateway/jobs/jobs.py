"""Callers' jobs: submitted, looked at and cancelled by their own tenant; makes no prediction itself."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.auth import Principal
from gateway.bodies import hints_of, id_of, predict_request
from gateway.errors import JobOver, KeyConflict, TooManyJobs, Unavailable, UnknownTask, Unprocessable
from gateway.service import Service
from registry import errors as registry
from registry.jobs import (
    MOST_OPEN,
    Job,
    JobState,
    JobStore,
    cancel,
    digest_of,
    is_job_id,
    job_id,
    send_again,
    submitted,
)

KEY_LIMIT = 255
"""Characters of an idempotency key."""

RETRY_S = 5.0
"""When to try again where too many jobs are open: as long as some predictions take."""

MOST_LISTED = 200


class Jobs:
    """What callers may do with jobs. Its methods read and write a store: a server calls them on a thread.

    `send` tells a queue of a job that waits, and raises the registry's Unavailable where it cannot. A job is accepted
    when it is stored and sent, in this order, since what is sent may be received at once. One that was stored and not
    sent is sent when its caller tries again with the same key; or, whatever became of the message, when somebody looks
    at a job that has waited long. A message too many is harmless: a job is claimed once.
    """

    def __init__(
        self,
        service: Service,
        store: JobStore,
        *,
        send: Callable[[Job], None],
        cancelled: Callable[[Job], None] = lambda _: None,
        most_open: int = MOST_OPEN,
        wall: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """`cancelled` is told of jobs that need run no further; `most_open` of one tenant's may wait or run."""
        self._service, self._store, self._send, self._cancelled = service, store, send, cancelled
        self._most_open, self._wall, self._random = most_open, wall, random

    def submit(self, principal: Principal, task: str, body: bytes, key: str | None = None) -> Job:
        """Accept what is asked as for a prediction, once for each idempotency key of the tenant.

        Raises what a prediction would of the request itself, and KeyConflict, TooManyJobs or Unavailable.
        """
        given, inputs = predict_request(body, self._service.task(principal, task))
        id_of(given.get("id"))
        self._service.check(principal, task, inputs, hints_of(given))
        now = self._wall()
        new = submitted(job_id(now, self._random(10)), principal.tenant, task, digest_of(task, body), now)
        with _refusals():
            job = self._store.submit(new, body, key=_checked(key), most=self._most_open)
        if job.waits(now):
            self._sent(job)
        return job

    def find(self, principal: Principal, id_: str) -> tuple[Job, bytes | None]:
        """A job, and its result as JSON once it has succeeded; raises UnknownTask or Unavailable."""
        _check_id(id_)
        with _refusals():
            job = self._store.job(principal.tenant, id_)
            if send_again(job, self._wall()) != job:
                job = self._again(job)
            return job, self._store.result(job) if job.state is JobState.SUCCEEDED else None

    def newest(self, principal: Principal, limit: int) -> tuple[Job, ...]:
        """The tenant's jobs, newest first; raises Unprocessable or Unavailable."""
        if not 1 <= limit <= MOST_LISTED:
            raise Unprocessable(f"limit: must be 1 to {MOST_LISTED}", field="limit")
        with _refusals():
            return self._store.jobs(principal.tenant, limit)

    def cancel(self, principal: Principal, id_: str) -> Job:
        """A job, cancelled: what comes of it if it runs is discarded. Raises UnknownTask, JobOver or Unavailable."""
        _check_id(id_)
        with _refusals():
            job = self._store.move(principal.tenant, id_, cancel)
        self._cancelled(job)
        return job

    def _again(self, job: Job) -> Job:
        """Send a job again, where nobody else has just done so."""
        moved = self._store.move(job.tenant, job.id, send_again)
        if moved.sent_at != job.sent_at and moved.waits(moved.sent_at):
            self._sent(moved)
        return moved

    def _sent(self, job: Job) -> None:
        try:
            self._send(job)
        except registry.Unavailable:
            raise Unavailable(
                f"job {job.id} is kept, but could not be queued; try again with the same Idempotency-Key,"
                " or ask for the job later",
                job=job.id,
            ) from None


@contextmanager
def _refusals() -> Iterator[None]:
    """What the store refuses, as the caller sees it."""
    try:
        yield
    except registry.NotFound as error:
        raise UnknownTask(f"no job {error.name!r} is kept", job=error.name) from None
    except registry.KeyReused as error:
        raise KeyConflict(str(error), job=error.job) from None
    except registry.JobEnded as error:
        raise JobOver(str(error), job=error.job, state=error.state) from None
    except registry.TooManyJobs as error:
        raise TooManyJobs(str(error), retry_after_s=RETRY_S, most=error.most) from None
    except registry.Unavailable:
        raise Unavailable("jobs cannot be reached now") from None


def _check_id(id_: str) -> None:
    if not is_job_id(id_):
        raise UnknownTask(f"no job {id_[:80]!r} is kept", job=id_[:80])


def _checked(key: str | None) -> str | None:
    if key is not None and not (0 < len(key) <= KEY_LIMIT and key.isascii() and key.isprintable()):
        raise Unprocessable(
            f"Idempotency-Key: is not 1 to {KEY_LIMIT} printable ASCII characters; send another, or none",
            field="Idempotency-Key",
        )
    return key
