"""Carries one decision out: one placement after another until one answers, time is up or none is left.

It never chooses and never meets the same refusal twice: a tier that refused and a variant that is corrupt are passed
over for the rest of the request. Exactly one reply or one GatewayError comes of it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from gateway.backends.protocol import Backend, Emit, Invocation, Reply, Tensors
from gateway.decisions import Attempt
from gateway.errors import (
    BackendError,
    CorruptArtifact,
    DeadlineExceeded,
    EnvironmentLost,
    ExecutionFailed,
    GatewayError,
    NotReady,
    Overloaded,
    Throttled,
    TimedOut,
    Unavailable,
)
from registry.catalogue import Catalogue
from registry.model import Estimate
from registry.tracing import UNTRACED, Tracer
from scheduler.events import Finished, Measured, PlacementFailed, Queued, TierUnavailable, VariantQuarantined
from scheduler.patience import deadline_of, floor_of
from scheduler.requests import Request

GRACE_S = 0.25
"""How long after its deadline a backend may still report; a backend that does not is given up on, never waited for."""

AVOID_S = 5.0
"""How long a placement is avoided after it failed where another one answered; as long as SageMaker's and Triton's
clients wait between retries, and enough for a crashed environment to be replaced."""


LOSSES = 2
"""Environments that a placement may lose in a row before it is avoided: the second follows from the first's cause."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A reply and the way to it."""

    reply: Reply
    estimate: Estimate
    """Of the placement whose variant answered: the last that was tried, or another one that its tier chose."""
    attempts: tuple[Attempt, ...]


@dataclass(slots=True)
class _Course:
    """What one request has met so far."""

    id: str
    request: Request
    ranked: Sequence[Estimate]
    arrived: float
    inputs: Tensors
    until: float
    """On the clock; whoever asked is gone then, whatever the SLO says."""
    attempts: list[Attempt] = field(default_factory=list)
    refused: dict[str, float] = field(default_factory=dict)
    """Tier to seconds until it may be asked again."""
    throttled: bool = True
    """Whether every refusal so far was for lack of capacity."""
    corrupt: set[str] = field(default_factory=set)
    lost: list[Estimate] = field(default_factory=list)
    """Candidates whose environment was lost under this request."""
    failed: list[str] = field(default_factory=list)
    """Placements that failed on these inputs; guilty once another placement answers them."""
    late: bool = False

    def untried(self, ranked: Callable[[], Sequence[Estimate]]) -> Iterator[Estimate]:
        """What was not tried by the time that this is asked for."""
        tried = {attempt.placement for attempt in self.attempts}
        yield from (estimate for estimate in ranked() if estimate.placement.id not in tried)


class Dispatcher:
    """Tries ranked placements on the backends of their tiers and reports what happens to the fleet."""

    def __init__(self, backends: Mapping[str, Backend], *, emit: Emit, clock: Callable[[], float]) -> None:
        self._backends = backends
        self._emit = emit
        self._clock = clock
        self.tracer: Tracer = UNTRACED
        self._full_until: dict[str, float] = {}
        self._losses: Counter[str] = Counter()
        """Placement to environments lost since it last answered."""

    def capacity_back_in(self, tiers: Iterable[str]) -> float | None:
        """Seconds until the first of the tiers that lack capacity may have some again; None when none lacks it."""
        now = self._clock()
        waits = [self._full_until[t] - now for t in tiers if self._full_until.get(t, now) > now]
        return min(waits, default=None)

    async def deliver(
        self,
        ranked: Sequence[Estimate],
        catalogue: Catalogue,
        request: Request,
        *,
        request_id: str,
        arrived: float,
        inputs: Tensors,
        reserve: Callable[[], Sequence[Estimate]] = tuple,
        until: float = math.inf,
    ) -> Delivery:
        """The first reply in rank order, `until` then; once all have failed, of what `reserve` ranks besides.

        Raises DeadlineExceeded when time runs out, Overloaded when every tier refused for lack of capacity, and
        Unavailable, naming each attempt, when every placement failed.
        """
        course = _Course(request_id, request, ranked, arrived, inputs, until)
        # When all else has failed, a placement that only lost its environment is worth a second one.
        for estimate in chain(ranked, course.lost, course.untried(reserve)):
            placement = estimate.placement
            if placement.tier in course.refused or placement.variant in course.corrupt:
                continue
            answered = await self._try(estimate, catalogue, course)
            if answered is not None:
                self._charge(course, placement.id)
                return Delivery(*answered, tuple(course.attempts))
            if course.late:
                break
        raise _unanswered(course)

    async def probe(
        self, estimate: Estimate, catalogue: Catalogue, *, request_id: str, inputs: Tensors
    ) -> float | None:
        """Run inputs once for what the outcome tells the fleet: the milliseconds it took, or None without an answer."""
        placement, started = estimate.placement, self._clock()
        deadline = started + catalogue.tiers[placement.tier].timeout_s
        invocation = Invocation(request_id, placement, catalogue.variants[placement.variant], inputs, deadline)
        try:
            await self._invoke(invocation, estimate, started, started)
        except BackendError as fault:
            log.info("probe %s: no answer from %s: %s", request_id, placement.id, type(fault).__name__)
            return None
        return (self._clock() - started) * 1000

    async def _try(self, estimate: Estimate, catalogue: Catalogue, course: _Course) -> tuple[Reply, Estimate] | None:
        """One attempt, with its events; None when the next placement is to be tried."""
        placement = estimate.placement
        started = self._clock()
        patience = deadline_of(course.request.slo, course.arrived, catalogue.tiers[placement.tier].timeout_s)
        deadline = min(patience, course.until)
        error = ""
        try:
            if started >= deadline:
                raise TimedOut("no time is left")
            variant, floor = catalogue.variants[placement.variant], floor_of(course.request.slo)
            # The first attempt is late by what passed since the decision; what others lost before was not foreseen.
            since = started if course.attempts else course.arrived + course.request.elapsed_ms / 1000
            with self.tracer.span("attempt", placement=placement.id, tier=placement.tier) as span:
                trace = self.tracer.traceparent()
                invocation = Invocation(course.id, placement, variant, course.inputs, deadline, floor, trace)
                reply, answered = await self._invoke(invocation, estimate, started, since, course.ranked)
                span.note(run_ms=reply.run_ms, load_ms=reply.load_ms, cold=reply.cold, loaded=reply.loaded)
                return reply, answered
        except BackendError as fault:
            error = f"{type(fault).__name__}: {fault}"
            # Its class alone: what a runtime says of inputs may quote them. The decision, explained, has the rest.
            log.info("request %s: no answer from %s: %s", course.id, placement.id, type(fault).__name__)
            self._note(fault, estimate, course)
            return None
        finally:
            took = (self._clock() - started) * 1000
            course.attempts.append(Attempt(placement.id, placement.tier, error, took))

    async def _invoke(
        self,
        invocation: Invocation,
        estimate: Estimate,
        started: float,
        since: float,
        ranked: Sequence[Estimate] = (),
    ) -> tuple[Reply, Estimate]:
        """Run once, and tell the fleet what it took against what was expected `since` (s) the decision.

        The estimate is that of the placement which answered, one of the `ranked` where the tier could choose.
        """
        placement = invocation.placement
        backend = self._backends.get(placement.tier)
        if backend is None:
            raise NotReady(f"no backend serves tier {placement.tier!r} here", retry_after_s=math.inf)
        self._emit(Queued(placement.id, invocation.id, estimate.busy_ms, started))
        reply, late = None, False
        try:
            async with asyncio.timeout(invocation.deadline - started + GRACE_S):
                given = await backend.invoke(invocation)
            estimate = _answered(given, estimate, ranked)
            reply = given
            return reply, estimate
        except TimedOut:
            late = True
            raise
        except TimeoutError:
            late = True
            raise TimedOut(f"{placement.tier} did not keep its deadline") from None
        finally:
            now = self._clock()
            self._emit(Finished(placement.id, invocation.id, (now - started) * 1000, reply is not None, now))
            if reply is not None or late:
                service_ms = _service_ms((now - started) * 1000, reply, estimate)
                latency_ms = max(0.0, (now - since) * 1000)
                rows, expected = invocation.rows, estimate.quantiles_ms
                self._emit(Measured(estimate.placement.id, rows, latency_ms, expected, service_ms, now, not late))

    def _note(self, fault: BackendError, estimate: Estimate, course: _Course) -> None:
        now, placement = self._clock(), estimate.placement
        course.throttled = course.throttled and isinstance(fault, Throttled)
        match fault:
            case NotReady() | Throttled():
                course.refused[placement.tier] = fault.retry_after_s
                if isinstance(fault, Throttled):
                    self._full_until[placement.tier] = now + fault.retry_after_s
                self._emit(TierUnavailable(placement.tier, str(fault), now + fault.retry_after_s, now))
            case CorruptArtifact():
                course.corrupt.add(placement.variant)
                log.warning("variant %s is quarantined: %s", placement.variant, fault)
                self._emit(VariantQuarantined(placement.variant, str(fault), now))
            case TimedOut():
                course.late = True
            case EnvironmentLost() if estimate not in course.lost:
                course.lost.append(estimate)
            case _:
                course.failed.append(placement.id)

    def _charge(self, course: _Course, answered: str) -> None:
        """Avoid the placements that failed on inputs which another one has now answered.

        Failures that every placement shares are laid to the inputs: no caller can take placements away from others.
        One lost environment is an accident, and LOSSES in a row are not.
        """
        now = self._clock()
        self._losses.pop(answered, None)
        lost = {estimate.placement.id for estimate in course.lost} - {answered}
        self._losses.update(lost)
        for placement in {*course.failed, *(p for p in lost if self._losses[p] >= LOSSES)} - {answered}:
            self._emit(PlacementFailed(placement, "failed where another answered", now + AVOID_S, now))


def _answered(reply: Reply, asked: Estimate, ranked: Sequence[Estimate]) -> Estimate:
    """The estimate of the placement whose variant answered; raises ExecutionFailed for one that was no candidate."""
    if reply.variant in (None, asked.placement.variant):
        return asked
    for estimate in ranked:
        if (estimate.placement.variant, estimate.placement.tier) == (reply.variant, asked.placement.tier):
            return estimate
    raise ExecutionFailed(f"{asked.placement.tier} answered with {reply.variant}, which is no candidate")


def _service_ms(took_ms: float, reply: Reply | None, estimate: Estimate) -> float | None:
    """What was service of a run; None where a start or a load was part of it, or may have been, or a wait."""
    if reply is None:
        return None if estimate.cold or estimate.load or estimate.wait_ms else took_ms
    return None if reply.cold or reply.loaded else max(0.0, took_ms - reply.wait_ms)


def _unanswered(course: _Course) -> GatewayError:
    tried = [{"placement": a.placement, "error": a.error} for a in course.attempts]
    if course.late:
        return DeadlineExceeded("no answer came in time", attempts=tried)
    if course.refused and course.throttled:
        return Overloaded(
            "every tier refused for lack of capacity", retry_after_s=min(course.refused.values()), attempts=tried
        )
    last = f", the last {tried[-1]['placement']}: {tried[-1]['error']}" if tried else ""
    return Unavailable(f"every placement failed{last}", attempts=tried)
