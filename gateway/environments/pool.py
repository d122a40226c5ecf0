"""The environments of one function: which one runs a request, when one starts and when one ends; never what they run.

Exactly one outcome per invocation, whatever happens meanwhile: the environment answers, crashes or times out, or the
caller goes away. A request that waits for a starting environment is taken by whichever environment is free first.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.environments.cpu_share import Shares
from gateway.environments.environment import Environment, State
from gateway.environments.invocation import Answer, Call, Job, Observe
from gateway.environments.log_ring import Output
from gateway.environments.processes import Ondemand, Starter
from gateway.environments.runtime_api import PAYLOAD_LIMIT
from gateway.environments.spec import FunctionSpec
from gateway.environments.template import Template
from gateway.errors import BackendError, EnvironmentLost, ExecutionFailed, NotReady, Throttled
from registry.model import StartMode
from scheduler.events import (
    EnvironmentBusy,
    EnvironmentGone,
    EnvironmentReady,
    EnvironmentStarting,
    Event,
    SnapshotTaken,
)

Emit = Callable[[Event], None]

RETRY_AFTER_S = 0.1
"""What a throttled caller is told: in the order of one invocation."""


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """How many environments there are, by state, and what they hold."""

    idle: int
    busy: int
    starting: int
    waiting: int
    resident: Mapping[str, int]


def starter_of(spec: FunctionSpec) -> Starter:
    """How environments of this function start."""
    return Template(spec) if spec.start_mode is StartMode.SNAPSTART else Ondemand(spec)


class Pool:
    """One function's environments. Every method belongs to the loop that it was opened in."""

    def __init__(
        self,
        spec: FunctionSpec,
        *,
        emit: Emit,
        shares: Shares | None = None,
        starter: Starter | None = None,
        output: Output | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`emit` hears of every environment under the tier name `spec.name`; `clock` times idle expiry and INIT.

        `output` hears what every environment writes.
        """
        self.spec = spec
        self._emit, self._output, self._clock = emit, output, clock
        self._own_shares = shares is None
        self.shares = shares or Shares()
        self._starter: Starter = starter or starter_of(spec)
        self._told: frozenset[str] = frozenset()
        """What the listener knows of the snapshot."""
        self._retired: list[Starter] = []
        """Starters of earlier code whose environments have not all ended."""
        self._all: dict[str, Environment] = {}
        self._idle: list[Environment] = []
        """The most recently used last."""
        self._waiting: deque[Job] = deque()
        self._reserved: dict[str, deque[Job]] = {}
        """Jobs for one particular environment, by its id."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._expiry: asyncio.TimerHandle | None = None
        self._closed = False

    # ------------------------------------------------------------------ work

    async def prepare(self) -> None:
        """Do what no first start should wait for (take the snapshot). Raises NotReady."""
        self._check_open()
        await self._starter.prepare()
        self._tell_snapshot()

    async def warm(self, copies: int) -> None:
        """Start environments until there are `copies`, and wait until INIT of each is over. Raises as `invoke` does."""
        self._check_open()
        self._check_limit(copies)
        for _ in range(copies - len(self._all)):
            self._start()
        for environment in self.environments:
            await environment.begun()
            if environment.fault is not None:
                raise environment.fault

    async def invoke(
        self,
        payload: bytes,
        *,
        want: str | None = None,
        observe: Observe | None = None,
        call: Call | None = None,
    ) -> Answer:
        """Run the function once on `payload` (JSON), in an environment where `want` is resident if one is idle.

        Raises Throttled when every environment is busy, no more may start and the queue is full, EnvironmentLost,
        TimedOut, NotReady when an environment cannot start, or ExecutionFailed for a payload over 6 MB. A handler's
        own error is an Answer. A caller that goes away gives up its place; what already runs goes on and its answer is
        dropped.
        """
        self._check_open()
        if len(payload) > PAYLOAD_LIMIT:
            raise ExecutionFailed(f"the event of {len(payload)} bytes is over Lambda's limit of {PAYLOAD_LIMIT}")
        job = Job(payload, asyncio.get_running_loop().create_future(), want, observe, call=call or Call())
        self._place(job)
        return await self._outcome(job)

    def holding(self, variant: str, left_s: float = 0.0) -> list[Environment]:
        """The environments that hold a variant and will not expire for `left_s` seconds, even unused."""
        now = self._clock()
        return [
            e
            for e in self._all.values()
            if variant in e.resident
            and (e.state is not State.IDLE or e.idle_since + self.spec.idle_timeout_s - now >= left_s)
        ]

    async def ensure(
        self, want: str, copies: int, payload: bytes, *, left_s: float = 0.0, observe: Observe | None = None
    ) -> list[Answer]:
        """Run `payload` (which makes `want` resident) until `copies` environments hold it; the answers, if any ran.

        Those that expire within `left_s` seconds do not count.

        Raises Throttled when more copies are asked than environments are allowed, and as `invoke` does.
        """
        self._check_open()
        self._check_limit(copies)
        holding = {e.id for e in self.holding(want, left_s)}
        lacking = [e for e in self._all.values() if e.id not in holding]
        # Idle ones first: a busy or starting one makes the warm-up wait. Of these what needs no load.
        lacking.sort(key=lambda e: (e.state is not State.IDLE, want not in e.resident, len(e.resident), -e.idle_since))
        missing = copies - (len(self._all) - len(lacking))
        jobs = []
        for index in range(missing):
            fresh = index >= len(lacking)
            job = Job(payload, asyncio.get_running_loop().create_future(), want, observe, cold=fresh)
            self._reserve(self._start() if fresh else lacking[index], job)
            jobs.append(job)
        outcomes = await asyncio.gather(*(self._outcome(job) for job in jobs), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return [outcome for outcome in outcomes if isinstance(outcome, Answer)]

    async def unload(self, variant: str, payload: bytes, *, observe: Observe | None = None) -> list[Answer]:
        """Run `payload` (which gives `variant` up) once in every environment that holds it; the answers.

        A busy one runs it next. One that ends meanwhile holds nothing any more. Raises NotReady when closed.
        """
        self._check_open()
        jobs = []
        for environment in [e for e in self._all.values() if variant in e.resident]:
            job = Job(payload, asyncio.get_running_loop().create_future(), observe=observe)
            self._reserve(environment, job)
            jobs.append(job)
        outcomes = await asyncio.gather(*(self._outcome(job) for job in jobs), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, EnvironmentLost):
                raise outcome
        return [outcome for outcome in outcomes if isinstance(outcome, Answer)]

    async def update(self, spec: FunctionSpec) -> None:
        """Run other code or configuration from the next start on; environments of the old end when they are free.

        Raises NotReady when the new code cannot be prepared; then nothing changes.
        """
        self._check_open()
        starter = starter_of(spec)
        try:
            await starter.prepare()
        except BackendError:
            await starter.close()
            raise
        self._retired.append(self._starter)
        self.spec, self._starter = spec, starter
        self._tell_snapshot()
        for environment in list(self._idle):
            environment.kill("replaced")
        self._close_retired()

    async def release(self, copies: int = 0) -> None:
        """End idle environments, the least recently used first, until at most `copies` are idle."""
        # One that has answered is idle as far as its callers can see; the runtime just has not said so yet.
        answered = [] if self._waiting else [e for e in self._all.values() if e.freeing and e.started]
        spare = [*self._idle, *answered]
        ending = spare[: max(0, len(spare) - copies)]
        for environment in ending:
            environment.kill("released")
        await asyncio.gather(*(environment.closed() for environment in ending))

    def status(self) -> PoolStatus:
        """What is there now."""
        states = Counter(environment.state for environment in self._all.values())
        resident = Counter(variant for environment in self._all.values() for variant in environment.resident)
        return PoolStatus(
            idle=states[State.IDLE],
            busy=states[State.BUSY],
            starting=states[State.STARTING],
            waiting=len(self._waiting),
            resident=dict(resident),
        )

    @property
    def environments(self) -> tuple[Environment, ...]:
        """Every environment that is not gone."""
        return tuple(self._all.values())

    def expire(self) -> int:
        """End what has been idle for the function's idle timeout on the clock; how many ended."""
        limit = self._clock() - self.spec.idle_timeout_s
        old = [environment for environment in self._idle if environment.idle_since <= limit]
        for environment in old:
            environment.kill("idle too long")
        self._schedule_expiry()
        return len(old)

    async def close(self) -> None:
        """End everything; requests on their way fail with EnvironmentLost, later ones with NotReady."""
        self._closed = True
        if self._expiry is not None:
            self._expiry.cancel()
        while self._waiting:
            self._waiting.popleft().fail(EnvironmentLost(f"{self.spec.name} is closing"))
        for environment in list(self._all.values()):
            environment.kill("closed")
        # First the starter: a start that waits for it must not be waited for.
        await asyncio.gather(*(starter.close() for starter in (self._starter, *self._retired)))
        await asyncio.gather(*self._tasks)
        if self._own_shares:
            self.shares.close()

    # ------------------------------------------------------------------ placing

    def _check_open(self) -> None:
        if self._closed:
            raise NotReady(f"{self.spec.name} is closed")

    def _check_limit(self, copies: int) -> None:
        if copies > self.spec.concurrency:
            raise Throttled(f"{self.spec.name}: {copies} copies exceed the limit of {self.spec.concurrency}")

    async def _outcome(self, job: Job) -> Answer:
        try:
            return await job.future
        finally:
            # Settled jobs are in no queue; one whose caller has gone must not be run for nobody.
            if job.future.cancelled() and job in self._waiting:
                self._waiting.remove(job)

    def _place(self, job: Job) -> None:
        """On an idle environment, behind one that starts, or in the queue. Raises Throttled."""
        environment = self._pick(job.want)
        if environment is not None:
            self._idle.remove(environment)
            environment.run(job)
            return
        if len(self._waiting) >= self._unclaimed():
            # Behind one that is about to be free it only waits for its turn, as it does while it is profiled.
            job.queued_at = self._clock()
            if len(self._all) < self.spec.concurrency:
                self._start()
            elif len(self._waiting) - self._unclaimed() >= self.spec.queue:
                raise Throttled(f"{self.spec.name}: all {self.spec.concurrency} environments are busy", RETRY_AFTER_S)
        job.cold = True
        self._waiting.append(job)

    def _pick(self, want: str | None) -> Environment | None:
        """The most recently used idle environment that holds what is wanted, else the most recently used."""
        if want is not None:
            for environment in reversed(self._idle):
                if want in environment.resident:
                    return environment
        return self._idle[-1] if self._idle else None

    def _unclaimed(self) -> int:
        """Environments that are about to be free and have no job of their own to do next."""
        return sum(e.freeing and not self._reserved.get(e.id) for e in self._all.values())

    def _reserve(self, environment: Environment, job: Job) -> None:
        if environment.state is State.IDLE:
            self._idle.remove(environment)
            environment.run(job)
        else:
            self._reserved.setdefault(environment.id, deque()).append(job)

    def _next_job(self, environment: Environment) -> Job | None:
        """What a free environment does next: its own reservations, then whoever waits longest."""
        reserved = self._reserved.get(environment.id)
        for queue in (reserved, self._waiting):
            while queue:
                job = queue.popleft()
                if not job.future.done():
                    return job
        self._reserved.pop(environment.id, None)
        return None

    # ------------------------------------------------------------------ life of environments

    def _start(self) -> Environment:
        environment = Environment(
            self.spec, self._starter, self.shares, on_change=self._changed, output=self._output, clock=self._clock
        )
        self._all[environment.id] = environment
        self._emit(EnvironmentStarting(self.spec.name, environment.id, self._clock()))
        self._spawn(environment.start())
        return environment

    def _tell_snapshot(self) -> None:
        """Say what the snapshot in use holds, once."""
        resident = self.spec.resident if self.spec.start_mode is StartMode.SNAPSTART else frozenset()
        if resident != self._told:
            self._told = resident
            self._emit(SnapshotTaken(self.spec.name, tuple(sorted(resident)), self._clock()))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _changed(self, environment: Environment, reason: str) -> None:
        match environment.state:
            case State.IDLE:
                self._freed(environment)
            case State.BUSY:
                self._emit(EnvironmentBusy(self.spec.name, environment.id, self._clock()))
            case State.GONE:
                self._lost(environment, reason)

    def _freed(self, environment: Environment) -> None:
        if environment.starter is not self._starter:
            environment.kill("replaced")
            return
        resident = tuple(sorted(environment.resident))
        self._emit(EnvironmentReady(self.spec.name, environment.id, resident, self._clock()))
        job = self._next_job(environment)
        if job is not None:
            environment.run(job)
            return
        self._idle.append(environment)
        if self._expiry is None:
            self._schedule_expiry()

    def _lost(self, environment: Environment, reason: str) -> None:
        del self._all[environment.id]
        if environment in self._idle:
            self._idle.remove(environment)
        self._spawn(environment.closed())
        self._emit(EnvironmentGone(self.spec.name, environment.id, reason, self._clock()))
        fault = environment.fault or EnvironmentLost(reason)
        for job in self._reserved.pop(environment.id, ()):
            job.fail(fault)
        self._make_up_for(environment, fault)
        self._close_retired()

    def _close_retired(self) -> None:
        """End the starters of earlier code that have no environment left: a template takes its copies with it."""
        used = {id(environment.starter) for environment in self._all.values()}
        for starter in [starter for starter in self._retired if id(starter) not in used]:
            self._retired.remove(starter)
            self._spawn(starter.close())

    def _make_up_for(self, environment: Environment, fault: BackendError) -> None:
        """Nobody may wait for an environment that will not come: start another, unless starting is what failed."""
        while len(self._waiting) > self._unclaimed():
            if not environment.started or self._closed:
                self._waiting.popleft().fail(fault)
            elif len(self._all) < self.spec.concurrency:
                self._start()
            else:
                return  # every place is taken by environments that will be free

    def _schedule_expiry(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if self._idle and not self._closed:
            oldest = min(environment.idle_since for environment in self._idle)
            delay = max(0.05, oldest + self.spec.idle_timeout_s - self._clock())
            self._expiry = asyncio.get_running_loop().call_later(delay, self.expire)
