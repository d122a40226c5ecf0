"""What a policy is to the simulator: requests, ends and ticks in, actions out; never how they are carried out.

`simulator.policies` holds the platform's own scheduler and the published baselines behind this one protocol. A policy
has no clock and draws nothing itself; it sees only what a scheduler could see at that time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from registry.model import Placement
from scheduler.actions import Provision, Shrink, Unload, Warm
from scheduler.events import Event
from scheduler.requests import Request


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One simulated request; equal to itself alone."""

    number: int
    request: Request
    arrived: float
    """In seconds, as every time here."""

    @property
    def deadline(self) -> float:
        """When its latency bound is over; infinite without one."""
        bound = self.request.slo.latency_ms
        return math.inf if bound is None else self.arrived + bound / 1000


@dataclass(frozen=True, slots=True)
class Invoke:
    """Run these jobs, all of one task, together on a placement: one invocation, of the sum of their rows."""

    placement: Placement
    jobs: tuple[Job, ...]


@dataclass(frozen=True, slots=True)
class Reject:
    """Answer a job with a refusal; it never runs."""

    job: Job
    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """An invocation ended; one that failed ran nothing, and its jobs are the policy's again to place or to reject."""

    invoke: Invoke
    began: float
    """When the tier took it (s)."""
    ok: bool
    reason: str
    """Why it failed: `throttled`, `not ready`, or `late` where it cannot be done in time; empty when it did not."""
    cold: bool
    """An environment was started for it."""
    loaded: bool
    """The variant was loaded for it."""
    service_ms: float
    """The run alone, without start, load and wait."""
    environment: str
    retry_after_s: float = 0.0
    """When to ask the tier again after it refused, by its own word."""
    variant: str = ""
    """Id of the variant that answered, where the tier could choose another; empty: the one that was asked for."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody waits for an invocation any more: one that has not begun never does, and no end of it is told."""

    invoke: Invoke


Action = Invoke | Reject | Cancel | Warm | Unload | Shrink | Provision


class Policy(Protocol):
    """Decides for a whole platform. Every method is told the time (s) and answers with what to do now, in order."""

    name: str
    period_s: float
    """How often `tick` is called; infinite: never."""

    def arrive(self, job: Job, now: float) -> Iterable[Action]:
        """A request came. A job that is not acted upon is the policy's to keep, for a batch."""

    def ended(self, end: Ended, now: float) -> Iterable[Action]:
        """An invocation ended."""

    def tick(self, now: float) -> Iterable[Action]:
        """A period is over."""

    def wake(self, now: float) -> Iterable[Action]:
        """The time that `wake_at` gave has come."""

    def wake_at(self) -> float:
        """When to be woken (s), for a batch that must not wait longer; infinite: never."""

    def happened(self, event: Event) -> None:
        """Something happened to an environment or a tier (the same events that a backend reports)."""
