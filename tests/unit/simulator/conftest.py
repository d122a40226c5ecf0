"""A catalogue whose times never vary and whose prices can be worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from registry.catalogue import Catalogue
from registry.model import (
    LEVELS,
    Accuracy,
    Placement,
    Price,
    Profile,
    Quantiles,
    Recipe,
    ServiceTime,
    Slo,
    StartMode,
    Task,
    TensorSpec,
    Tier,
    TierKind,
    Variant,
)
from scheduler.events import Event
from scheduler.requests import Request
from simulator.bill import Dollars
from simulator.clock import Clock
from simulator.hardware import Hardware
from simulator.host import Host, Stage
from simulator.policy import Action, Ended, Invoke, Job
from simulator.times import Times

SPEC = TensorSpec("x", "FP32", (-1, 4))


def flat(ms: float) -> Quantiles:
    return Quantiles((ms,) * len(LEVELS), ms)


def spread(median_ms: float) -> Quantiles:
    """Up to half as long again, or half as short."""
    return Quantiles(tuple(median_ms * (0.5 + level) for level in LEVELS), median_ms)


def tier_of(name: str, **changes: Any) -> Tier:
    facts: dict[str, Any] = {
        "kind": TierKind.LAMBDA,
        "vcpus": 1.0,
        "memory_mb": 1024,
        "concurrency": 3,
        "start_mode": StartMode.ONDEMAND,
        "price": Price(usd_per_busy_s=1.0, usd_per_request=0.01),
        "idle_timeout_s": 100.0,
    }
    return Tier(name, **(facts | changes))


def catalogue_of(*tiers: Tier, variants: int = 2, tasks: int = 1, varying: bool = False, memory_mb: float = 100.0):
    """Variant `v0` runs 10 ms a row, `v1` 20 ms; a start takes 200 ms and a load 50 ms."""
    time, made = spread if varying else flat, Catalogue.empty().with_tiers(*tiers)
    for number in range(tasks):
        name = f"t{number}" if number else "t"
        made = made.with_tasks(Task(name, (SPEC,), (SPEC,), "accuracy"))
        for rank in range(variants):
            value = 0.8 + 0.1 * rank
            accuracy = Accuracy(value, value, value, 100, "wilson")
            made = made.with_variants(
                Variant(name, f"v{rank}", f"blake3:{10 * number + rank:064x}", Recipe("x"), accuracy)
            )
            for tier in tiers:
                placement, ms = Placement(f"{name}/v{rank}", tier.name), 10.0 * (rank + 1)
                service = tuple(ServiceTime(rows, time(ms * rows), ms * rows) for rows in (1, 2, 4))
                profile = Profile(placement.id, service, time(50.0), time(200.0), memory_mb, "x", "none", 9, "now")
                made = made.with_placements(placement).with_profiles(profile)
    return made


@dataclass
class Rig:
    """One host on a stage of its own, and what it tells."""

    catalogue: Catalogue
    hardware: Hardware = field(default_factory=Hardware)
    seed: int = 0

    def __post_init__(self) -> None:
        self.clock, self.events, self.ends = Clock(), [], []
        times = Times(self.catalogue, np.random.default_rng(self.seed))
        self.stage = Stage(self.catalogue, self.clock, times, self.hardware, self.events.append, self._ended)
        self.numbers = iter(range(10**6))

    def _ended(self, end: Ended, usd: float) -> None:
        self.ends.append((self.clock.now, end, usd))

    def ask(self, host: Host, placement: str, *, at: float, rows: int = 1, **slo: Any) -> None:
        """One request for a placement at a time (s)."""
        found = self.catalogue.placements[placement]
        job = Job(next(self.numbers), Request(found.task, Slo(**slo), rows), at)
        self.clock.at(at, 2, lambda: host.invoke(Invoke(found, (job,))))

    def at(self, time: float, do: Callable[[], None]) -> None:
        self.clock.at(time, 2, do)


class Fixed:
    """A policy that asks always for one placement, and does what else it is told to at times (s)."""

    name = "fixed"
    period_s = math.inf

    def __init__(self, placement: Placement) -> None:
        self.placement, self.events = placement, []

    def arrive(self, job: Job, now: float) -> Iterable[Action]:
        return (Invoke(self.placement, (job,)),)

    def ended(self, end: Ended, now: float) -> Iterable[Action]:
        return ()

    def tick(self, now: float) -> Iterable[Action]:
        return ()

    def wake(self, now: float) -> Iterable[Action]:
        return ()

    def wake_at(self) -> float:
        return math.inf

    def happened(self, event: Event) -> None:
        self.events.append(event)


def cents(dollars: Dollars) -> Sequence[float]:
    return [round(100 * v, 6) for v in (dollars.requests, dollars.busy, dollars.init, dollars.starts, dollars.idle)]


@pytest.fixture
def make_tier():
    return tier_of


@pytest.fixture
def make_catalogue():
    return catalogue_of


@pytest.fixture
def make_rig():
    return Rig


@pytest.fixture
def fixed():
    return Fixed


@pytest.fixture
def in_cents():
    """US dollars as cents: requests, busy, init, starts, idle."""
    return cents
