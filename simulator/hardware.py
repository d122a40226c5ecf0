"""What a catalogue does not say of a platform: how long idle environments live, what is provisioned, who adds time."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Protocol

from registry.model import Tier
from scheduler.layout import KEPT
from scheduler.work import Action, Expire, Ladder, Refuse, Run, Work

Lifetime = Callable[[float], float]
"""For how long (s) an environment stays idle before it goes, for a uniform draw in [0, 1)."""


def constant(seconds: float) -> Lifetime:
    """Always as long."""
    return lambda draw: seconds


def uniform(low_s: float, high_s: float) -> Lifetime:
    """Anything between the two, alike."""
    return lambda draw: low_s + (high_s - low_s) * draw


def lognormal(median_s: float, shape: float) -> Lifetime:
    """Half of them longer than the median; `shape` is the standard deviation of the logarithm."""
    normal = NormalDist()
    return lambda draw: median_s * math.exp(shape * normal.inv_cdf(min(max(draw, 1e-12), 1.0 - 1e-12)))


class Decider(Protocol):
    """What decides within one copy of a container: `scheduler.station.Station`, or a baseline in its place."""

    def arrive(self, work: Work, now: float) -> Refuse | Expire | None:
        """A work came."""

    def act(self, now: float) -> list[Action]:
        """What to do now."""

    def finished(self, run: Run, took_s: float, now: float, *, ok: bool = True) -> None:
        """A run ended."""

    def wake_at(self, now: float) -> float | None:
        """When to ask again though nothing happened."""

    def resident(self, task: str, variant: str, threads: int, held: bool = True) -> None:
        """A variant is loaded, or no more."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """The platform that is simulated; mappings are by tier name, and what they lack has the default."""

    overhead_ms: float = 0.0
    """What network and gateway add to every answer, whatever runs it (`benchmarks.overhead`: added_p50_ms)."""
    lifetimes: Mapping[str, Lifetime] = field(default_factory=dict)
    """Default: the tier's idle timeout, always."""
    bound: Collection[str] = ()
    """Tiers of kind `process` whose every start is for the request that it began for, as on Lambda; default: none, as
    whoever waits longest has what is free first (`gateway.environments.pool`)."""
    provisioned: Mapping[str, int] = field(default_factory=dict)
    """Environments or copies that are there, and paid for, from the start. Default: one copy of a container."""
    snapshots: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Variants (ids) that the environments of a SnapStart tier start with; default: none."""
    start_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds from asking for a container's copy until it answers; default: START_S."""
    scale_in_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds for which a copy is paid for that is wanted no more; default: SCALE_IN_S."""
    deciders: Mapping[str, Callable[[int, Sequence[Ladder]], Decider]] = field(default_factory=dict)
    """What decides within a copy with so many cores that is offered these tasks; default: a station."""

    def lifetime(self, tier: Tier) -> Lifetime:
        """Of the tier's idle environments."""
        default = math.inf if tier.start_mode in KEPT else tier.idle_timeout_s
        return self.lifetimes.get(tier.name) or constant(default)
