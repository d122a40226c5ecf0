"""A backend that runs no model: environments, cold starts, residency, limits and faults, at times it is given.

It follows the same protocol as the real ones and passes the same contract suite; all its waiting is `asyncio.sleep`,
so that on a virtual-time loop hours pass in milliseconds. It must never invent randomness: `uniform` is an argument.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from gateway.backends.protocol import Emit, Invocation, Reply, Tensors, TierStatus, is_to_change, least_left_s
from gateway.errors import (
    BackendError,
    CorruptArtifact,
    EnvironmentLost,
    ExecutionFailed,
    NotReady,
    Throttled,
    TimedOut,
)
from registry.model import LEVELS, Placement, Profile, Quantiles, StartMode, Tier, Variant
from scheduler.events import EnvironmentBusy, EnvironmentGone, EnvironmentReady, EnvironmentStarting
from scheduler.keeping import kept_mb
from scheduler.layout import KEPT


@dataclass(frozen=True, slots=True)
class Times:
    """How long the steps of one run take, in milliseconds."""

    init_ms: float = 0.0
    load_ms: float = 0.0
    run_ms: float = 1.0


Timing = Callable[[Placement, int, float], Times]
"""Times of a placement for a number of rows and a uniform draw in [0, 1)."""


def steady(*, init_ms: float = 0.0, load_ms: float = 0.0, run_ms: float = 1.0, row_ms: float = 0.0) -> Timing:
    """A timing without spread: `run_ms` and `row_ms` for each row."""

    def timing(placement: Placement, rows: int, draw: float) -> Times:
        return Times(init_ms, load_ms, run_ms + row_ms * rows)

    return timing


def measured(profiles: Mapping[str, Profile]) -> Timing:
    """A timing that draws from what was measured, by inverse transform; one draw moves all steps together."""

    def timing(placement: Placement, rows: int, draw: float) -> Times:
        profile = profiles[placement.id]
        service = next((s for s in profile.service if s.rows >= rows), profile.service[-1])
        return Times(_at(profile.init, draw), _at(profile.load, draw), _at(service.latency, draw))

    return timing


def _at(quantiles: Quantiles, level: float) -> float:
    """The value at a level, linear between the kept levels and flat outside them."""
    points = list(zip(LEVELS, quantiles.ms, strict=True))
    if level <= points[0][0]:
        return points[0][1]
    for (low, below), (high, above) in pairwise(points):
        if level <= high:
            return below + (above - below) * (level - low) / (high - low)
    return points[-1][1]


@dataclass(frozen=True, slots=True)
class FaultRates:
    """The chance of each fault on one invocation; drawn once, in this order, so they must sum to at most 1."""

    throttled: float = 0.0
    not_ready: float = 0.0
    lost: float = 0.0
    failed: float = 0.0

    def draw(self, u: float) -> BackendError | None:
        """The fault that a uniform draw falls on, or none."""
        for rate, fault in (
            (self.throttled, Throttled("drawn")),
            (self.not_ready, NotReady("drawn")),
            (self.lost, EnvironmentLost("drawn")),
            (self.failed, ExecutionFailed("drawn")),
        ):
            if u < rate:
                return fault
            u -= rate
        return None


@dataclass(slots=True)
class _Environment:
    id: str
    idle_since: float
    resident: dict[str, int] = field(default_factory=dict)
    """Variant id to bytes, least recently used first."""
    busy: bool = True
    leaving: set[str] = field(default_factory=set)
    """What is given up when it is idle."""


class FakeBackend:
    """Serves a tier from `answer`, in environments that start, load, run, expire and fail as told.

    `answer` makes the outputs of an invocation. `script` holds one outcome per invocation (an error to raise, or None)
    and goes before `faults`, which are drawn from `uniform`. `corrupt` holds digests that fail to load.
    At most `queue` requests wait for an environment; one more is Throttled, and told to come back after
    `retry_after_s`.
    """

    def __init__(
        self,
        tier: Tier,
        *,
        emit: Emit,
        answer: Callable[[Invocation], Tensors],
        clock: Callable[[], float] = time.monotonic,
        timing: Timing | None = None,
        faults: FaultRates | None = None,
        uniform: Callable[[], float] = lambda: 0.5,
        script: Iterable[BackendError | None] = (),
        queue: int = 0,
        retry_after_s: float = 1.0,
    ) -> None:
        self.tier = tier
        self.provisioned = 0
        self.corrupt: set[str] = set()
        self.script: deque[BackendError | None] = deque(script)
        self._emit = emit
        self._answer = answer
        self._clock = clock
        self._timing = timing or steady()
        self._faults = faults or FaultRates()
        self._uniform = uniform
        self._queue, self._retry_after_s = queue, retry_after_s
        self._waiting = 0
        self._slots = asyncio.Semaphore(tier.concurrency)
        self._environments: dict[str, _Environment] = {}
        self._started = 0
        self._runs: set[asyncio.Task[Reply]] = set()
        self._closed = False

    async def prepare(self) -> None:
        """Nothing to do: what it takes to start is in the timing."""
        self._check_open()

    async def invoke(self, invocation: Invocation) -> Reply:
        """Run once; the run goes on in its environment when the caller's deadline passes first."""
        self._check_open()
        fault = self.script.popleft() if self.script else self._faults.draw(self._uniform())
        if isinstance(fault, NotReady | Throttled):
            raise fault
        queued_at = self._clock() if self._slots.locked() else None
        await self._slot(invocation.deadline)
        wait_ms = 0.0 if queued_at is None else (self._clock() - queued_at) * 1000
        run = asyncio.create_task(self._run(invocation, fault, wait_ms))
        self._runs.add(run)
        run.add_done_callback(self._forget)
        done, _ = await asyncio.wait({run}, timeout=max(0.0, invocation.deadline - self._clock()))
        if not done:
            raise TimedOut(f"no answer from {self.tier.name} by the deadline")
        if run.cancelled():
            raise NotReady(f"{self.tier.name} is closed")
        return run.result()

    def status(self) -> TierStatus:
        """What is running now."""
        self._expire()
        resident: dict[str, int] = {}
        for environment in self._environments.values():
            for variant in environment.resident:
                resident[variant] = resident.get(variant, 0) + 1
        busy = sum(e.busy for e in self._environments.values())
        reason = f"{self.tier.name} is closed" if self._closed else ""
        return TierStatus(not self._closed, reason, len(self._environments) - busy, busy, 0, resident)

    def lasting(self, variant: Variant, for_s: float) -> int:
        """Those that run something, and those that were used lately enough."""
        return sum(self._lasts(e, variant, for_s) for e in self._environments.values())

    async def ensure(self, placement: Placement, variant: Variant, copies: int, *, for_s: float = 0.0) -> None:
        """Warm the missing copies, first in idle environments, then in new ones."""
        self._check_open()
        self._expire()
        for environment in self._environments.values():
            if variant.id in environment.resident and not self._lasts(environment, variant, for_s):
                environment.idle_since = self._clock()
                self._tell(environment)
        holding = sum(variant.id in e.resident for e in self._environments.values())
        for _ in range(copies - holding):
            if self._slots.locked():
                raise Throttled(f"{self.tier.name} has {self.tier.concurrency} environments, all busy")
            await self._slots.acquire()
            try:
                await self._warm_one(placement, variant)
            finally:
                self._slots.release()

    async def unload(self, variant: Variant) -> None:
        """Give the variant up where nothing runs, and at the end of what runs."""
        self._check_open()
        for environment in [e for e in self._environments.values() if variant.id in e.resident]:
            if environment.busy:
                environment.leaving.add(variant.id)
            else:
                del environment.resident[variant.id]
                self._tell(environment)

    async def provision(self, copies: int, *, more: bool = True, fewer: bool = True) -> bool:
        """Note how many environments are paid for; they cost what the price model says, and run as any other."""
        self._check_open()
        if copies > self.tier.concurrency:
            raise Throttled(f"{self.tier.name} allows {self.tier.concurrency} environments")
        changed = is_to_change(self.provisioned, copies, more=more, fewer=fewer)
        self.provisioned = copies if changed else self.provisioned
        return changed

    async def release(self, copies: int = 0) -> None:
        """Drop the idle environments that were idle longest."""
        idle = sorted((e for e in self._environments.values() if not e.busy), key=lambda e: e.idle_since)
        for environment in idle[: max(0, len(idle) - copies)]:
            self._drop(environment, "released")

    async def close(self) -> None:
        """Drop everything; runs under way are cancelled."""
        self._closed = True
        for run in list(self._runs):
            run.cancel()
        await asyncio.gather(*self._runs, return_exceptions=True)
        for environment in list(self._environments.values()):
            self._drop(environment, "closed")

    def _check_open(self) -> None:
        if self._closed:
            raise NotReady(f"{self.tier.name} is closed")

    def _forget(self, run: asyncio.Task[Reply]) -> None:
        self._runs.discard(run)
        if not run.cancelled():
            run.exception()  # Seen here, so that a run whose caller has left is not reported as lost.

    async def _slot(self, deadline: float) -> None:
        if self._slots.locked() and self._waiting >= self._queue:
            raise Throttled(f"{self.tier.name} has {self.tier.concurrency} environments, all busy", self._retry_after_s)
        self._waiting += 1
        try:
            async with asyncio.timeout(max(0.0, deadline - self._clock())):
                await self._slots.acquire()
        except TimeoutError:
            raise TimedOut(f"no environment of {self.tier.name} came free by the deadline") from None
        finally:
            self._waiting -= 1

    async def _run(self, invocation: Invocation, fault: BackendError | None, wait_ms: float) -> Reply:
        """One run in one environment; holds a slot, and gives it back."""
        try:
            times = self._timing(invocation.placement, invocation.rows, self._uniform())
            environment, cold = await self._acquire(None, invocation.variant, times)
            loaded = await self._load_into(environment, invocation.variant, times, idle_after=False)
            if isinstance(fault, EnvironmentLost):
                self._drop(environment, "crashed")
                raise fault
            await asyncio.sleep(times.run_ms / 1000)
            self._idle(environment)
            if fault is not None:
                raise fault
            load_ms = times.load_ms if loaded else 0.0
            return Reply(
                outputs=self._answer(invocation),
                environment=environment.id,
                cold=cold,
                loaded=loaded,
                run_ms=times.run_ms,
                billed_ms=times.run_ms + load_ms,
                init_ms=times.init_ms if cold else 0.0,
                load_ms=load_ms,
                wait_ms=wait_ms,
            )
        finally:
            self._slots.release()

    async def _warm_one(self, placement: Placement, variant: Variant) -> None:
        """Load the variant into an idle environment without it, else into a new one; needs a slot."""
        lacking = [e for e in self._environments.values() if not e.busy and variant.id not in e.resident]
        if not lacking and len(self._environments) >= self.tier.concurrency:
            raise Throttled(f"{self.tier.name} allows {self.tier.concurrency} environments")
        times = self._timing(placement, 1, self._uniform())
        environment, _ = await self._acquire(lacking[0] if lacking else None, variant, times, fresh=True)
        await self._load_into(environment, variant, times)

    async def _acquire(
        self, chosen: _Environment | None, variant: Variant, times: Times, *, fresh: bool = False
    ) -> tuple[_Environment, bool]:
        """An environment made busy, and whether it was started for this; prefers one that holds the variant."""
        self._expire()
        idle = [e for e in self._environments.values() if not e.busy]
        if chosen is None and idle and not fresh:
            chosen = max(idle, key=lambda e: (variant.id in e.resident, e.idle_since))
        if chosen is not None:
            chosen.busy = True
            self._emit(EnvironmentBusy(self.tier.name, chosen.id, self._clock()))
            return chosen, False
        self._started += 1
        environment = _Environment(f"{self.tier.name}-{self._started}", self._clock())
        self._environments[environment.id] = environment
        self._emit(EnvironmentStarting(self.tier.name, environment.id, self._clock()))
        await self._sleep_in(environment, times.init_ms)
        self._emit(EnvironmentReady(self.tier.name, environment.id, (), self._clock()))
        self._emit(EnvironmentBusy(self.tier.name, environment.id, self._clock()))
        return environment, self.tier.start_mode is not StartMode.ALWAYS

    async def _load_into(
        self, environment: _Environment, variant: Variant, times: Times, *, idle_after: bool = True
    ) -> bool:
        """Make the variant resident, evicting the least recently used; returns whether it had to be loaded."""
        missing = variant.id not in environment.resident
        if missing:
            if variant.artifact in self.corrupt:
                self._idle(environment)
                raise CorruptArtifact(f"{variant.id}: bytes do not match {variant.artifact}")
            await self._sleep_in(environment, times.load_ms)
            budget = kept_mb(self.tier) * 2**20 - variant.size_bytes
            while environment.resident and sum(environment.resident.values()) > budget:
                del environment.resident[next(iter(environment.resident))]
        environment.resident[variant.id] = environment.resident.pop(variant.id, variant.size_bytes)
        if idle_after:
            self._idle(environment)
        return missing

    async def _sleep_in(self, environment: _Environment, ms: float) -> None:
        try:
            await asyncio.sleep(ms / 1000)
        except asyncio.CancelledError:
            self._drop(environment, "cancelled")
            raise

    def _idle(self, environment: _Environment) -> None:
        environment.busy = False
        environment.idle_since = self._clock()
        for variant in environment.leaving:
            environment.resident.pop(variant, None)
        environment.leaving.clear()
        self._tell(environment)

    def _tell(self, environment: _Environment) -> None:
        self._emit(EnvironmentReady(self.tier.name, environment.id, tuple(environment.resident), self._clock()))

    def _lasts(self, environment: _Environment, variant: Variant, for_s: float) -> bool:
        expires = environment.idle_since + self.tier.idle_timeout_s
        left = environment.busy or expires - self._clock() >= least_left_s(self.tier, for_s)
        return variant.id in environment.resident and left

    def _expire(self) -> None:
        if self.tier.start_mode in KEPT:
            return
        before = self._clock() - self.tier.idle_timeout_s
        for environment in [e for e in self._environments.values() if not e.busy and e.idle_since < before]:
            self._drop(environment, "expired")

    def _drop(self, environment: _Environment, reason: str) -> None:
        if self._environments.pop(environment.id, None) is not None:
            self._emit(EnvironmentGone(self.tier.name, environment.id, reason, self._clock()))
