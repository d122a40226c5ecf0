"""Runs a station, or a baseline in its place, over arrivals in virtual time; service times come from a sampler."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise
from math import inf
from typing import Protocol

import numpy as np

from scheduler.work import Action, Expire, Refuse, Run, Work
from simulator.arrivals import Floats

STEP_S = 1e-6
"""How far the clock moves on when a decider wants to be asked again at once."""


class Decider(Protocol):
    """What a station is to whoever drives it."""

    def arrive(self, work: Work, now: float) -> Refuse | Expire | None:
        """A work came."""

    def act(self, now: float) -> list[Action]:
        """What to do now."""

    def finished(self, run: Run, took_s: float, now: float, *, ok: bool = True) -> None:
        """A run ended."""

    def wake_at(self, now: float) -> float | None:
        """When to ask again though nothing happened."""


Sampler = Callable[[Run], float]
"""Seconds that a run takes."""


@dataclass(slots=True)
class Outcomes:
    """What became of every work, by its number."""

    arrived: Floats
    done: list[float]
    """When it was answered (s); infinite where it was not."""
    variant: list[str | None]
    runs: list[tuple[float, Run]] = field(default_factory=list)
    """When each run began, and the run."""

    @property
    def latency(self) -> list[float]:
        """Seconds from arrival to answer; infinite without one."""
        return [done - arrived for done, arrived in zip(self.done, self.arrived, strict=True)]


def play(
    decider: Decider, task: str, times: Floats, deadline_s: float, sampler: Sampler, *, until: float = inf
) -> Outcomes:
    """Every arrival as one row with the same deadline, and what becomes of it."""
    outcomes = Outcomes(times, [inf] * len(times), [None] * len(times))
    works = [Work(task, 1, now, now + deadline_s) for now in times.tolist()]
    number = {work: i for i, work in enumerate(works)}
    ends: list[tuple[float, int, Run, float]] = []
    serial, at, now, wake = count(), 0, 0.0, inf
    while True:
        arrival = works[at].arrived if at < len(works) else inf
        now = max(now, min(arrival, wake, ends[0][0] if ends else inf))
        if now == inf or now > until:
            return outcomes
        while ends and ends[0][0] <= now:
            ended, _, run, took = heapq.heappop(ends)
            for work in run.works:
                outcomes.done[number[work]], outcomes.variant[number[work]] = ended, run.variant
            decider.finished(run, took, now)
        while at < len(works) and works[at].arrived <= now:
            decider.arrive(works[at], now)
            at += 1
        for action in decider.act(now):
            if isinstance(action, Run):
                took = sampler(action)
                outcomes.runs.append((now, action))
                heapq.heappush(ends, (now + took, next(serial), action, took))
        asked = decider.wake_at(now)
        wake = inf if asked is None else max(asked, now + STEP_S)


def effective_accuracy(outcomes: Outcomes, deadline_s: float, accuracy: dict[str, float]) -> tuple[float, float]:
    """Effective accuracy and attainment, over all works: late, expired and refused ones count as wrong."""
    right = timely = 0.0
    for latency, variant in zip(outcomes.latency, outcomes.variant, strict=True):
        if latency <= deadline_s and variant is not None:
            timely += 1
            right += accuracy[variant]
    return right / len(outcomes.done), timely / len(outcomes.done)


def since(outcomes: Outcomes, seconds: float) -> Outcomes:
    """The works that came, and the runs that began, from then on."""
    first = int(np.searchsorted(outcomes.arrived, seconds))
    later = [(when, run) for when, run in outcomes.runs if when >= seconds]
    return Outcomes(outcomes.arrived[first:], outcomes.done[first:], outcomes.variant[first:], later)


def parts_of(outcomes: Outcomes, parts: int) -> list[Outcomes]:
    """The works that came in each of so many equal parts of the time, where any did; the runs are left out."""
    arrived = np.asarray(outcomes.arrived)
    edges = np.searchsorted(arrived, np.linspace(arrived[0], arrived[-1], parts + 1)[1:-1]).tolist()
    bounds = pairwise([0, *edges, len(arrived)])
    return [
        Outcomes(arrived[low:high], outcomes.done[low:high], outcomes.variant[low:high])
        for low, high in bounds
        if high > low
    ]


def switches(runs: Sequence[tuple[float, Run]], seconds: float) -> float:
    """How often the variant changed from one run to the next, a minute."""
    changes = sum(a.variant != b.variant for (_, a), (_, b) in pairwise(runs))
    return changes * 60 / seconds
