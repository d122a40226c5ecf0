"""A small world for gateway tests: one task, three variants on two fake tiers, on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from gateway.auth import Principal
from gateway.backends.fake import FakeBackend, Timing, steady
from gateway.backends.protocol import Invocation
from gateway.decisions import Record
from gateway.service import Service
from gateway.snapshots import Snapshots
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
    Slo,
    StartMode,
    Task,
    TensorSpec,
    Tier,
    TierKind,
    Variant,
)
from scheduler.probing import Probe

ALICE = Principal("alice", "acme")


def constant(ms: float) -> Quantiles:
    return Quantiles((ms,) * len(LEVELS), ms) if ms else ZERO


def variant(name: str, accuracy: float, task: str = "sum") -> Variant:
    digest = "blake3:" + f"{abs(hash(name)):064x}"[-64:]
    return Variant(task, name, digest, Recipe("test"), Accuracy(accuracy, accuracy, accuracy, 100, "wilson"), 1000)


def tier(name: str, **changes: Any) -> Tier:
    fields: dict[str, Any] = {
        "kind": TierKind.PROCESS,
        "vcpus": 1.0,
        "memory_mb": 1769,
        "concurrency": 4,
        "start_mode": StartMode.ONDEMAND,
        "price": Price(usd_per_busy_s=0.00003),
        "timeout_s": 10.0,
    }
    return Tier(name=name, **{**fields, **changes})


def profile(placement: Placement, run_ms: float, *, load_ms: float = 0.0, init_ms: float = 0.0) -> Profile:
    service = tuple(ServiceTime(rows, constant(run_ms * rows**0.5), run_ms * rows**0.5) for rows in (1, 4, 64))
    return Profile(placement.id, service, constant(load_ms), constant(init_ms), 10.0, "test", "none", 100, "2026-01-01")


@dataclass
class World:
    """A service over fake backends, and what its observers were told."""

    catalogue: Catalogue
    clock: Callable[[], float]
    timing: Timing = field(default_factory=lambda: steady(run_ms=5.0))
    records: list[Record] = field(default_factory=list)
    probes: bool = True
    queue: int = 0
    probed: list[Probe] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.snapshots = Snapshots(self.catalogue)
        self.backends = {
            name: FakeBackend(
                t, emit=self.snapshots.emit, answer=total, clock=self.clock, timing=self.timing, queue=self.queue
            )
            for name, t in self.catalogue.tiers.items()
        }
        self.service = Service(
            self.snapshots,
            self.backends,
            clock=self.clock,
            wall=self.clock,
            observers=[self.records.append],
            probes=self.probes,
            probed=self.probed.append,
        )

    async def predict(self, hints: Mapping[str, Any] | None = None, **given: Any) -> Any:
        inputs = given.pop("inputs", {"x": np.ones((1, 3), np.float32)})
        return await self.service.predict(ALICE, given.pop("task", "sum"), inputs, hints, **given)


def total(invocation: Invocation) -> dict[str, Any]:
    return {"y": invocation.inputs["x"].sum(axis=1, keepdims=True)}


def catalogue(
    profiles: Mapping[tuple[str, str], float],
    *,
    tiers: Iterable[Tier] = (),
    slo: Slo | None = None,
    load_ms: float = 0.0,
) -> Catalogue:
    """Variants `small`, `medium` and `large` at run times (ms) by (variant, tier)."""
    known = {"small": 0.8, "medium": 0.9, "large": 0.99}
    spec = TensorSpec("x", "FP32", (-1, 3))
    made = Catalogue.empty().with_tasks(
        Task("sum", (spec,), (TensorSpec("y", "FP32", (-1, 1)),), "accuracy", slo or Slo()),
        Task("private", (spec,), (TensorSpec("y", "FP32", (-1, 1)),), "accuracy", owner="globex"),
    )
    made = made.with_tiers(*(tiers or {name: tier(name) for _, name in profiles}.values()))
    made = made.with_variants(*(variant(name, known[name]) for name in {name for name, _ in profiles}))
    for (name, where), run_ms in profiles.items():
        placement = Placement(f"sum/{name}", where)
        made = made.with_placements(placement).with_profiles(profile(placement, run_ms, load_ms=load_ms))
    return made


@pytest.fixture
def make_catalogue() -> Callable[..., Catalogue]:
    return catalogue


@pytest.fixture
def make_tier() -> Callable[..., Tier]:
    return tier


@pytest.fixture
def make_world() -> Callable[..., World]:
    """Builds a World on the running loop's clock (virtual under `run_virtually`)."""

    def make(profiles: Mapping[tuple[str, str], float] | None = None, **options: Any) -> World:
        given = {name: options.pop(name) for name in ("timing", "probes", "queue") if name in options}
        facts = catalogue(profiles or {("small", "a"): 5.0, ("large", "b"): 20.0}, **options)
        clock = asyncio.get_running_loop().time
        return World(facts, clock, **given)

    return make


@pytest.fixture
def alice() -> Principal:
    return ALICE
