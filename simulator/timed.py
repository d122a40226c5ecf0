"""A policy with the time that it takes to answer an arrival; it changes nothing of what is decided."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from scheduler.events import Event
from simulator.policy import Action, Ended, Job, Policy


class Timed:
    """See Policy."""

    def __init__(self, policy: Policy, clock: Callable[[], float]) -> None:
        """`clock` tells real seconds, of any origin."""
        self.name, self.period_s = policy.name, policy.period_s
        self.arrivals = 0
        self.seconds = 0.0
        """What all answers to arrivals took."""
        self._policy, self._clock = policy, clock

    def arrive(self, job: Job, now: float) -> Iterable[Action]:
        """See Policy."""
        begun = self._clock()
        actions = tuple(self._policy.arrive(job, now))
        self.seconds += self._clock() - begun
        self.arrivals += 1
        return actions

    def ended(self, end: Ended, now: float) -> Iterable[Action]:
        """See Policy."""
        return self._policy.ended(end, now)

    def tick(self, now: float) -> Iterable[Action]:
        """See Policy."""
        return self._policy.tick(now)

    def wake(self, now: float) -> Iterable[Action]:
        """See Policy."""
        return self._policy.wake(now)

    def wake_at(self) -> float:
        """See Policy."""
        return self._policy.wake_at()

    def happened(self, event: Event) -> None:
        """See Policy."""
        self._policy.happened(event)
