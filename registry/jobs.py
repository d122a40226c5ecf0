"""A prediction that nobody waits for, as a frozen value, and what may follow on what; keeps nothing and reads no clock.

A job is claimed for a lease; whoever holds it extends the lease while it runs and says what came of it. A lease that
has run out means that its holder is gone: the job is claimed again, ATTEMPTS times in all. Each step is a pure function
of a job and the time (s since the epoch), so every store that can compare and set carries out the same one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

from registry.errors import ClaimLost, InvalidValue, JobEnded

KEPT_S = 24 * 3600.0
"""How long a job is kept after it has ended, or was submitted and never ended; an idempotency key as long."""

ATTEMPTS = 3
"""How often a job is begun: what ended its holder twice may be the job itself."""

AGAIN_S = 300.0
"""A job that waited so long since it was last sent to a queue may have been lost by it."""

LONGEST_PAUSE_S = 60.0
"""Between two runs of a job."""

LONGEST_LEASE_S = 1000.0
"""At a time: a function of Lambda's has 900 s, and what says more extends its lease."""

SKEW_S = 10.0
"""How far the clocks of those who share jobs may be apart."""

AHEAD_S = {True: LONGEST_LEASE_S + SKEW_S, False: LONGEST_PAUSE_S + SKEW_S}
"""How far ahead the end of a wait can be, of a job that runs and of one that does not. What is further was written by a
clock that has been set back since, and would be waited for until that clock is there again: it counts as over."""

MOST_OPEN = 1000
"""Jobs of one tenant that may wait or run: a quarter of an hour of one worker at a second each."""

ID = re.compile(r"[0-9a-f]{31}")


class JobState(StrEnum):
    """How far a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TRANSITIONS: Mapping[JobState, frozenset[JobState]] = MappingProxyType(
    {
        JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED}),
        JobState.RUNNING: frozenset(
            {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.QUEUED, JobState.RUNNING}
        ),
        JobState.SUCCEEDED: frozenset(),
        JobState.FAILED: frozenset(),
        JobState.CANCELLED: frozenset(),
    }
)
"""What each state may become; one that runs is queued again when it was given back, and runs again when its holder is
gone."""

OPEN = frozenset(state for state, following in TRANSITIONS.items() if following)


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed, as its caller is told."""

    code: str
    message: str


ABANDONED = JobError("abandoned", f"it was begun {ATTEMPTS} times, and whoever ran it was gone before it was done")


@dataclass(frozen=True, slots=True)
class Job:
    """One prediction to make; times are seconds since the epoch."""

    id: str
    """Ids sort by when their jobs were submitted."""
    tenant: str
    task: str
    digest: str
    """Of the task and the body, so that a key that is used again can be told from a retry."""
    submitted_at: float
    expires_at: float
    """When it is forgotten, result and all."""
    state: JobState = JobState.QUEUED
    started_at: float | None = None
    """When it was last begun."""
    ended_at: float | None = None
    attempts: int = 0
    holder: str = ""
    """Who claimed it last; nobody else may say what came of it."""
    lease_until: float = 0.0
    """Until when nobody else may claim it: its holder's lease, or a pause after it was given back."""
    sent_at: float = 0.0
    """When it was last sent to a queue."""
    error: JobError | None = None

    @property
    def open(self) -> bool:
        """Whether it waits or runs."""
        return self.state in OPEN

    def expired(self, now: float) -> bool:
        """Whether it is to be taken as forgotten, deleted yet or not."""
        return now >= self.expires_at

    def waits(self, now: float) -> bool:
        """Whether it may be claimed: queued, and no pause was asked for, or held by somebody who is gone."""
        return self.open and not 0 < self.lease_until - now <= AHEAD_S[self.state is JobState.RUNNING]


def job_id(now: float, random: bytes) -> str:
    """An id of the time (s) and ten random bytes."""
    return f"{int(now * 1000):011x}{random.hex()}"


def digest_of(task: str, body: bytes) -> str:
    """The SHA-256 of what is asked, 64 hex digits: equal for equal submissions, byte for byte."""
    return hashlib.sha256(b"\0".join((task.encode(), body))).hexdigest()


def submitted(id_: str, tenant: str, task: str, digest: str, now: float) -> Job:
    """A new job."""
    return Job(id_, tenant, task, digest, submitted_at=now, expires_at=now + KEPT_S, sent_at=now)


Step = Callable[[Job, float], Job]
"""A job as it is, and the time, to the job as it becomes; what it raises changes nothing. It may be called again."""


def claim(job: Job, now: float, *, holder: str, lease_s: float) -> Job:
    """The job, held by `holder` if it could be claimed; as it is where it has ended or somebody else holds it.

    One that was begun ATTEMPTS times and abandoned fails instead.
    """
    if not job.waits(now):
        return job
    if job.attempts >= ATTEMPTS:
        return _ended(job, now, JobState.FAILED, ABANDONED)
    begun = _to(job, JobState.RUNNING)
    return replace(
        begun,
        holder=holder,
        lease_until=now + min(lease_s, LONGEST_LEASE_S),
        started_at=now,
        attempts=job.attempts + 1,
        error=None,
    )


def extend(job: Job, now: float, *, holder: str, lease_s: float) -> Job:
    """The job with a longer lease; raises ClaimLost."""
    _check_held(job, holder)
    return replace(job, lease_until=now + min(lease_s, LONGEST_LEASE_S))


def succeed(job: Job, now: float, *, holder: str) -> Job:
    """The job with its result made; raises ClaimLost."""
    return _finish(job, now, holder, JobState.SUCCEEDED, None)


def fail(job: Job, now: float, *, holder: str, error: JobError) -> Job:
    """The job, for good; raises ClaimLost."""
    return _finish(job, now, holder, JobState.FAILED, error)


def give_back(job: Job, now: float, *, holder: str, error: JobError, counted: bool = True, pause_s: float = 0.0) -> Job:
    """The job, queued again after a pause; failed where its attempts are over. One that could not begin counts as none.

    Raises ClaimLost.
    """
    if job.state is JobState.QUEUED and job.holder == holder:
        return job  # said before: only the answer to it was lost
    if counted and job.attempts >= ATTEMPTS:
        return fail(job, now, holder=holder, error=error)
    _check_held(job, holder)
    again_at = now + min(pause_s, LONGEST_PAUSE_S)
    return replace(_to(job, JobState.QUEUED), lease_until=again_at, attempts=job.attempts - (not counted), error=error)


def cancel(job: Job, now: float) -> Job:
    """The job, cancelled; one that is cancelled already stays so. Raises JobEnded for any other end."""
    if job.state is JobState.CANCELLED:
        return job
    if not job.open:
        raise JobEnded(job.id, job.state)
    return _ended(job, now, JobState.CANCELLED, None)


def send_again(job: Job, now: float) -> Job:
    """The job, sent now, if it waits and was last sent AGAIN_S ago, or so much later by a clock that was set back."""
    return replace(job, sent_at=now) if job.waits(now) and abs(now - job.sent_at) >= AGAIN_S else job


def _finish(job: Job, now: float, holder: str, state: JobState, error: JobError | None) -> Job:
    if job.state is state and job.holder == holder:
        return job  # said before: only the answer to it was lost
    _check_held(job, holder)
    return _ended(job, now, state, error)


def _check_held(job: Job, holder: str) -> None:
    if job.state is not JobState.RUNNING or job.holder != holder:
        raise ClaimLost(job.id, job.state)


def _ended(job: Job, now: float, state: JobState, error: JobError | None) -> Job:
    return replace(_to(job, state), ended_at=now, expires_at=now + KEPT_S, lease_until=0.0, error=error)


def _to(job: Job, state: JobState) -> Job:
    if state not in TRANSITIONS[job.state]:
        allowed = " or ".join(sorted(TRANSITIONS[job.state]))
        fix = f"only {allowed} may follow" if allowed else "nothing follows"
        raise InvalidValue(f"job {job.id}", f"is {job.state} and cannot become {state}", fix)
    return replace(job, state=state)


class JobStore(Protocol):
    """Keeps jobs, what was asked and what came of it; safe for many threads and processes at once.

    Every method raises Unavailable where the store cannot be reached; an expired job is as good as none.
    """

    def submit(self, job: Job, body: bytes, *, key: str | None = None, most: int = MOST_OPEN) -> Job:
        """Keep a new job, and return it; its id may have changed.

        With a `key` that the tenant has used within KEPT_S, nothing is kept and the job of that time is returned.
        Raises KeyReused where that one was for something else, TooManyJobs where `most` of the tenant's are open; of
        submissions at the same time a few more may come in.
        """

    def job(self, tenant: str, id_: str) -> Job:
        """One job; raises NotFound."""

    def jobs(self, tenant: str, limit: int) -> tuple[Job, ...]:
        """The newest jobs of a tenant, newest first."""

    def body(self, job: Job) -> bytes:
        """What was asked; raises NotFound once the job has ended."""

    def result(self, job: Job) -> bytes:
        """What came of a job that has succeeded; raises NotFound."""

    def move(self, tenant: str, id_: str, step: Step, *, result: bytes | None = None) -> Job:
        """Have a job become what `step` makes of it, whoever else moves it; `result` is kept if it then has succeeded.

        Raises NotFound, and what `step` raises, with nothing written.
        """

    def close(self) -> None:
        """Let go of files and connections."""


class JobQueue(JobStore, Protocol):
    """A store that also knows who is next; elsewhere a queue of its own says so."""

    def claim_next(self, holder: str, lease_s: float) -> Job | None:
        """The oldest waiting job of the tenant that was served least lately, claimed; None where none waits."""


def is_job_id(text: str) -> bool:
    """Whether a text has the form of an id."""
    return ID.fullmatch(text) is not None
