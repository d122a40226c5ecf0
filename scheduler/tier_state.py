"""What runs on one tier now, as an immutable value; it knows nothing of the other tiers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from types import MappingProxyType

from scheduler.environments import Environment, State

Ticket = tuple[str, str]
"""Placement id and request id: a request may be queued for two placements at once."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that was queued and has not finished: its expected service time, mean (ms) and variance (ms²)."""

    expected_ms: float
    variance: float
    shared: float = 1.0
    """The part of its service time that those behind it wait for; less than 1 where queued requests share runs."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What is counted of a tier's environments."""

    starting: int
    """Those that are not ready yet."""
    live: int
    """Those that are ready, busy or not."""
    running: int
    """Runs going on."""
    free: dict[str, Environment]
    """Those with a free slot, the first to expire first."""


@dataclass(frozen=True)
class TierState:
    """Environments and unfinished requests of a tier."""

    capacity: int
    """Most runs at once."""
    slots: int
    """Runs at once in one environment."""
    idle_timeout_s: float
    environments: Mapping[str, Environment] = field(default_factory=lambda: MappingProxyType({}))
    outstanding: Mapping[Ticket, Waiting] = field(default_factory=lambda: MappingProxyType({}))
    snapshot: frozenset[str] = frozenset()
    """Variants that a new environment starts with."""
    unavailable_until: float = -math.inf
    reason: str = ""

    counted: Tally | None = field(default=None, compare=False, repr=False)
    """Given where it is known already."""

    @cached_property
    def tally(self) -> Tally:
        """What is counted of the environments."""
        if self.counted is not None:
            return self.counted
        states = [e.state for e in self.environments.values()]
        starting = states.count(State.STARTING)
        running = sum(e.running for e in self.environments.values())
        free = sorted(((n, e) for n, e in self.environments.items() if e.free), key=lambda item: self.expiry(item[1]))
        return Tally(starting, len(states) - starting, running, dict(free))

    @cached_property
    def idle(self) -> int:
        """Environments that run nothing; some may be past the idle timeout."""
        return sum(e.state is State.IDLE for e in self.environments.values())

    @cached_property
    def busy(self) -> int:
        """Environments that run something."""
        return sum(e.state is State.BUSY for e in self.environments.values())

    @property
    def starting(self) -> int:
        """Environments that are not ready yet."""
        return self.tally.starting

    @property
    def running(self) -> int:
        """Runs going on."""
        return self.tally.running

    @cached_property
    def backlog_ms(self) -> float:
        """Expected service time of all unfinished requests."""
        return sum(w.expected_ms for w in self.outstanding.values())

    @property
    def occupied(self) -> int:
        """Slots that are taken or spoken for."""
        tally = self.counted or self.tally
        return max(tally.running + tally.starting * self.slots, len(self.outstanding))

    @property
    def full(self) -> bool:
        """Whether one more request can only wait, unless an environment is free."""
        return self.occupied >= self.capacity

    @property
    def starved(self) -> bool:
        """Whether one more request waits, whatever the time."""
        return self.full and self.free_until == -math.inf

    @property
    def live(self) -> int:
        """Environments that are ready, busy or not."""
        return self.tally.live

    @cached_property
    def free_until(self) -> float:
        """Until when (s) one more request finds a free slot in a warm environment; -inf when it finds none.

        Requests that were queued and neither run nor have an environment starting for them take the freshest slots.
        """
        tally = self.counted or self.tally
        freshest = reversed(tally.free.values())
        slots = freshest if self.slots == 1 else (e for e in freshest for _ in range(e.free))
        ahead = max(0, len(self.outstanding) - tally.running - tally.starting * self.slots)
        found = next(islice(slots, ahead, None), None)
        return -math.inf if found is None else self.expiry(found)

    @cached_property
    def wait(self) -> tuple[float, float]:
        """Mean (ms) and variance (ms²) of the wait for a slot when the tier is full.

        With c slots that run requests of mean m and variance v, each at a uniformly random point of its run, the first
        slot frees after the least of c uniforms on [0, m]: mean m / (c + 1), variance c m² / ((c + 1)² (c + 2))
        (David & Nagaraja, Order Statistics, 2003, section 2.2). The q requests that wait already leave m / c apart,
        each adding variance v / c²; where queued requests share runs, each with the part of its m that is its own.
        """
        count, slots = len(self.outstanding), self.capacity
        if not count:
            return 0.0, 0.0
        mean = self.backlog_ms / count
        queued = max(0, count - slots)
        own = sum(w.expected_ms * w.shared for w in self.outstanding.values()) / count
        spread = sum(w.variance * w.shared**2 for w in self.outstanding.values()) / count
        least = slots * mean**2 / ((slots + 1) ** 2 * (slots + 2))
        return mean / (slots + 1) + queued * own / slots, least + queued * spread / slots**2

    def expiry(self, environment: Environment) -> float:
        """When (s) an environment expires unless it is used again."""
        return math.inf if environment.running else environment.used_at + self.idle_timeout_s

    def free_with(self) -> Mapping[str, float]:
        """Variants that free environments hold, and until when (s)."""
        return {
            variant: self.expiry(environment)
            for environment in self.tally.free.values()  # of two, the later to expire overwrites the other
            for variant in environment.resident
        }

    def warm_with(self, variant: str, now: float) -> bool:
        """Whether a ready environment, busy or not yet expired at `now`, holds this variant."""
        return any(variant in e.resident and self.expiry(e) > now for e in self.environments.values())

    def holders(self, variant: str) -> int:
        """Ready environments, busy or not, that hold this variant."""
        return sum(variant in e.resident for e in self.environments.values())
