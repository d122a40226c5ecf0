"""Small catalogues whose figures can be worked out by hand, and a station's time, which passes as a test says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import TypeVar

import pytest

from registry.catalogue import Catalogue
from registry.model import (
    LEVELS,
    ZERO,
    Accuracy,
    Placement,
    Price,
    Profile,
    Quantiles,
    Recipe,
    ServiceTime,
    StartMode,
    Task,
    TensorSpec,
    Tier,
    TierKind,
    Variant,
)
from scheduler.station import Station
from scheduler.work import Expire, Load, Refuse, Run, Work


def flat(ms: float) -> Quantiles:
    """A time that never varies."""
    return Quantiles((ms,) * len(LEVELS), ms)


def ramp(low: float, high: float) -> Quantiles:
    """A uniform time: P(time <= d) = (d - low) / (high - low) between the first level and the last."""
    return Quantiles(tuple(low + (high - low) * level for level in LEVELS), (low + high) / 2)


def tier(name: str, **changes: object) -> Tier:
    """An on-demand tier of two environments that costs a dollar a second."""
    facts: dict[str, object] = {
        "kind": TierKind.PROCESS,
        "vcpus": 1.0,
        "memory_mb": 1769,
        "concurrency": 2,
        "start_mode": StartMode.ONDEMAND,
        "price": Price(usd_per_busy_s=1.0),
        "idle_timeout_s": 100.0,
    }
    return Tier(name, **(facts | changes))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Spec:
    """One placement of task `t`, by its variant's name, and everything known about it."""

    variant: str
    tier: str = "cpu"
    accuracy: float = 0.9
    service: Mapping[int, Quantiles] = field(default_factory=lambda: {1: flat(10.0), 2: flat(20.0)})
    load: Quantiles = ZERO
    init: Quantiles = ZERO
    threads: int = 1
    max_batch: int = 64
    profiled: bool = True


Build = Callable[..., Catalogue]


def build(*specs: Spec, tiers: tuple[Tier, ...] = ()) -> Catalogue:
    """A catalogue of task `t` with these placements, on `tiers` (by default tier `cpu` alone)."""
    task = Task("t", (TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1,)),), "accuracy")
    catalogue = Catalogue.empty().with_tasks(task).with_tiers(*(tiers or (tier("cpu"),)))
    for spec in specs:
        accuracy = Accuracy(spec.accuracy, spec.accuracy, spec.accuracy, 100, "wilson")
        variant = Variant("t", spec.variant, f"blake3:{spec.variant}", Recipe("test"), accuracy)
        placement = Placement(variant.id, spec.tier, spec.threads, spec.max_batch)
        catalogue = catalogue.with_variants(variant).with_placements(placement)
        if spec.profiled:
            catalogue = catalogue.with_profiles(_profile(placement, spec))
    return catalogue


def _profile(placement: Placement, spec: Spec) -> Profile:
    service = tuple(ServiceTime(rows, latency, latency.mean) for rows, latency in spec.service.items())
    return Profile(placement.id, service, spec.load, spec.init, 1.0, "test", "none", 100, "2025-01-01T00:00:00Z")


T = TypeVar("T")


class Drive:
    """A station in virtual time: runs take as long as `took(run, now)` says, and what came of each work is kept."""

    def __init__(self, station: Station, took: Callable[[Run, float], float], *, load_s: float = 0.0) -> None:
        self.station = station
        self.now = 0.0
        self.runs: list[tuple[float, Run]] = []
        self.answered: dict[Work, tuple[float, Run]] = {}
        self.expired: dict[Work, float] = {}
        self.refused: dict[Work, Refuse] = {}
        self.hopeless: dict[Work, float] = {}
        """Which another try would not help either, as they were told when they came."""
        self.loads: list[tuple[float, Load]] = []
        self.then: Callable[[Work], None] = lambda work: None
        """Called with each work that was answered."""
        self._took, self._load_s = took, load_s
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = count()
        self._wake = inf
        self._busy = 0

    def at(self, when: float, event: Callable[[], None]) -> None:
        """Have something happen at a time (s)."""
        heappush(self._events, (when, next(self._serial), event))

    def submit(self, works: Iterable[Work]) -> None:
        """Have works arrive at their time."""
        for work in works:
            self.at(work.arrived, partial(self._arrive, work))

    def play(self, works: Iterable[Work] = (), until: float = inf) -> Drive:
        """Let time pass until nothing happens any more, or until a time (s)."""
        self.submit(works)
        while (when := min(self._events[0][0] if self._events else inf, self._wake)) < inf and when <= until:
            self.now = when
            while self._events and self._events[0][0] <= when:
                heappop(self._events)[2]()
            self._act()
        return self

    def in_time(self, since: float = 0.0) -> int:
        """Works, of those that came since then, that were answered by their deadline."""
        return sum(end <= work.deadline for work, (end, _) in self.answered.items() if work.arrived >= since)

    def missed(self, since: float = 0.0) -> int:
        """Works, of those that came since then, that were accepted and not answered by their deadline."""
        late = sum(end > work.deadline for work, (end, _) in self.answered.items() if work.arrived >= since)
        return late + sum(work.arrived >= since for work in self.expired)

    def _arrive(self, work: Work) -> None:
        match self.station.arrive(work, self.now):
            case Expire():
                self._tell(work, self.hopeless, self.now)
            case Refuse() as refused:
                self._tell(work, self.refused, refused)

    def _act(self) -> None:
        for action in self.station.act(self.now):
            match action:
                case Run():
                    self._begin(action)
                case Expire(work):
                    self._tell(work, self.expired, self.now)
                case Refuse(work):
                    self._tell(work, self.refused, action)
                case Load():
                    self.loads.append((self.now, action))
                    loaded = partial(self.station.resident, action.task, action.variant, action.threads)
                    self.at(self.now + self._load_s, loaded)
        assert self._busy + self.station.free == self.station.cores
        wake = self.station.wake_at(self.now)
        self._wake = inf if wake is None else wake
        assert self._wake > self.now

    def _begin(self, run: Run) -> None:
        self._busy += run.threads
        assert self._busy <= self.station.cores
        assert all(work.deadline > self.now for work in run.works)
        self.runs.append((self.now, run))
        took = self._took(run, self.now)
        self.at(self.now + took, lambda: self._end(run, took))

    def _end(self, run: Run, took: float) -> None:
        self._busy -= run.threads
        self.station.finished(run, took, self.now)
        for work in run.works:
            self._tell(work, self.answered, (self.now, run))
            self.then(work)

    def _tell(self, work: Work, how: dict[Work, T], what: T) -> None:
        assert not any(work in told for told in (self.answered, self.expired, self.refused, self.hopeless))
        how[work] = what


@pytest.fixture(name="build")
def _build() -> Build:
    return build


@pytest.fixture(name="spec")
def _spec() -> type[Spec]:
    return Spec


@pytest.fixture(name="tier")
def _tier() -> Callable[..., Tier]:
    return tier


@pytest.fixture(name="flat")
def _flat() -> Callable[[float], Quantiles]:
    return flat


@pytest.fixture(name="ramp")
def _ramp() -> Callable[[float, float], Quantiles]:
    return ramp


@pytest.fixture(name="drive")
def _drive() -> type[Drive]:
    return Drive
