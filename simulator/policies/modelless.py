"""The platform's own scheduler as a policy: every decision is `scheduler.choose` on a fleet kept by its events.

It does what the gateway does around that: turns away, tries the next placement where one fails, gives up at the
deadline. What would be decided beside requests, `capacity` decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

from registry.catalogue import Catalogue
from registry.model import Estimate
from scheduler import actions
from scheduler.choose import choose
from scheduler.events import Event, Finished, Measured, Queued, TierUnavailable
from scheduler.fleet import Fleet
from scheduler.patience import deadline_of, turned_away
from simulator.policy import Action, Cancel, Ended, Invoke, Job, Reject

Capacity = Callable[[Catalogue, Fleet, float], Iterable[actions.Action]]
"""What to warm, evict and provision now."""

PERIOD_S = 60.0
"""How often capacity is decided upon."""

REFUSED = frozenset({"throttled", "not ready"})
"""Ends that say something of the whole tier."""

LATE = "no answer came in time"


@dataclass(slots=True, eq=False)
class _Course:
    """One job's way through its candidates."""

    job: Job
    ranked: Sequence[Estimate]
    candidates: Iterator[Estimate]
    tried: int = 0
    refused: set[str] = field(default_factory=set)
    """Tiers."""
    estimate: Estimate | None = None
    invoke: Invoke | None = None
    started: float = 0.0
    """When the candidate of now was asked (s)."""
    deadline: float = math.inf


class Modelless:
    """See Policy."""

    name = "modelless"

    def __init__(self, catalogue: Catalogue, *, capacity: Capacity | None = None, period_s: float = PERIOD_S) -> None:
        self.period_s = period_s if capacity is not None else math.inf
        self._catalogue = catalogue
        self._capacity = capacity
        self._fleet = Fleet.empty(catalogue)
        self._pending: list[Event] = []
        self._courses: dict[int, _Course] = {}
        """By the job's number."""
        self._deadlines: list[tuple[float, int, _Course]] = []
        self._serial = count()

    @property
    def fleet(self) -> Fleet:
        """The fleet after every event so far."""
        if self._pending:
            self._fleet = self._fleet.apply_all(self._pending)
            self._pending.clear()
        return self._fleet

    def happened(self, event: Event) -> None:
        """See Policy."""
        self._pending.append(event)

    def arrive(self, job: Job, now: float) -> Iterable[Action]:
        """See Policy."""
        decision = choose(job.request, self._catalogue, self.fleet, now)
        refusal = turned_away(decision, self._catalogue)
        if refusal is not None:
            return (Reject(job, str(refusal)),)
        course = _Course(job, decision.ranked, iter(decision.ranked))
        self._courses[job.number] = course
        return self._next(course, now)

    def ended(self, end: Ended, now: float) -> Iterable[Action]:
        """See Policy."""
        course = self._courses[end.invoke.jobs[0].number]
        self._left(course, now, ok=end.ok)
        placement = end.invoke.placement
        if end.ok:
            del self._courses[course.job.number]
            if end.variant not in ("", placement.variant):
                course.estimate = _of_variant(course, end.variant)
            self._measure(course, now, None if end.cold or end.loaded else end.service_ms)
            return ()
        if end.reason == "late":
            del self._courses[course.job.number]
            self._measure_late(course, now)
            return (Reject(course.job, LATE),)
        if end.reason in REFUSED:
            course.refused.add(placement.tier)
            self._pending.append(TierUnavailable(placement.tier, end.reason, now + end.retry_after_s, now))
        return self._next(course, now)

    def tick(self, now: float) -> Iterable[Action]:
        """See Policy."""
        return () if self._capacity is None else self._capacity(self._catalogue, self.fleet, now)

    def wake_at(self) -> float:
        """See Policy. What has been answered is found out when its deadline has come, or is the first."""
        return self._deadlines[0][0] if self._deadlines else math.inf

    def wake(self, now: float) -> Iterable[Action]:
        """See Policy."""
        found: list[Action] = []
        deadlines = self._deadlines
        while deadlines and (deadlines[0][0] <= now or not self._under_way(*deadlines[0])):
            course = deadlines[0][2]
            if self._under_way(*heappop(deadlines)):
                found += self._give_up(course, now)
        return found

    def _under_way(self, deadline: float, serial: int, course: _Course) -> bool:
        return course.deadline == deadline and course.job.number in self._courses

    def _next(self, course: _Course, now: float) -> Iterable[Action]:
        """Ask the next candidate whose tier did not refuse this job."""
        job = course.job
        for estimate in course.candidates:
            placement = estimate.placement
            if placement.tier in course.refused:
                continue
            timeout_s = self._catalogue.tiers[placement.tier].timeout_s
            deadline = deadline_of(job.request.slo, job.arrived, timeout_s)
            if now >= deadline:
                break
            course.tried += 1
            course.estimate, course.started, course.deadline = estimate, now, deadline
            course.invoke = Invoke(placement, (job,))
            heappush(self._deadlines, (deadline, next(self._serial), course))
            self._pending.append(Queued(placement.id, str(job.number), estimate.busy_ms, now))
            return (course.invoke,)
        del self._courses[job.number]
        return (Reject(job, "every placement failed"),)

    def _give_up(self, course: _Course, now: float) -> Iterable[Action]:
        assert course.invoke is not None
        del self._courses[course.job.number]
        self._left(course, now, ok=False)
        self._measure_late(course, now)
        return Cancel(course.invoke), Reject(course.job, LATE)

    def _measure_late(self, course: _Course, now: float) -> None:
        estimate = course.estimate
        assert estimate is not None
        started = estimate.cold or estimate.load or estimate.wait_ms
        self._measure(course, now, None if started else (now - course.started) * 1000, answered=False)

    def _left(self, course: _Course, now: float, *, ok: bool) -> None:
        assert course.invoke is not None
        took_ms = (now - course.started) * 1000
        self._pending.append(Finished(course.invoke.placement.id, str(course.job.number), took_ms, ok, now))

    def _measure(self, course: _Course, now: float, service_ms: float | None, *, answered: bool = True) -> None:
        assert course.estimate is not None
        # The first attempt is late by what passed since the decision; what others lost before was not foreseen.
        placement, rows = course.estimate.placement.id, course.job.request.rows
        latency_ms = (now - course.started) * 1000
        predicted = course.estimate.quantiles_ms
        self._pending.append(Measured(placement, rows, latency_ms, predicted, service_ms, now, answered))


def _of_variant(course: _Course, variant: str) -> Estimate:
    """What was expected of the variant that a tier chose in the asked one's stead."""
    assert course.estimate is not None
    tier = course.estimate.placement.tier
    return next(e for e in course.ranked if (e.placement.variant, e.placement.tier) == (variant, tier))
