"""A gateway over fakes with faults around them, on a virtual clock, and requests that come meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import numpy as np

from benchmarks.at_once import AtOnce
from benchmarks.fault_backend import Faulty
from benchmarks.fault_tally import End, Phase, Tally
from functions.aws.catalogue import CatalogueWatch
from gateway.auth import ANONYMOUS
from gateway.backends.fake import FakeBackend, measured
from gateway.backends.protocol import Invocation, Tensors
from gateway.decisions import Record
from gateway.errors import GatewayError
from gateway.service import Service
from gateway.snapshots import Snapshots
from registry.catalogue import Catalogue
from registry.errors import RegistryError
from registry.model import (
    LEVELS,
    ZERO,
    Accuracy,
    Placement,
    Profile,
    Quantiles,
    Recipe,
    ServiceTime,
    Task,
    TensorSpec,
    Tier,
    Variant,
)
from registry.prices import gpu_tier, lambda_tiers
from registry.stores.memory import MemoryStore

TASK = "double"
SMALL, LARGE, GPU = "lambda-1769", "lambda-3538", "container-gpu"
RUN_MS = {"rough": 4.0, "fair": 15.0, "fine": 60.0}
ACCURACY = {"rough": 0.90, "fair": 0.95, "fine": 0.98}
SPEED = {SMALL: 1.0, LARGE: 0.6, GPU: 0.15}
"""Run times on a tier, of those on one vCPU: what an accelerator might do, as there is none to measure."""

RECOVERY_S = 1.5
"""How long callers and gateway may still go by what they were told: a refusal says 1 s."""

HINTS: tuple[dict[str, Any], ...] = (
    {},
    {"latency_ms": 400, "objective": "accuracy"},
    {"latency_ms": 1500, "min_accuracy": 0.95, "objective": "cost"},
    {"latency_ms": 800, "on_infeasible": "strict"},
)


def facts(*names: str) -> Catalogue:
    """Variants of one task by name, or all three, each on two sizes of Lambda and in a container."""
    tiers = [tier for tier in (*lambda_tiers(), gpu_tier()) if tier.name in SPEED]
    variants = [_variant(name) for name in names or RUN_MS]
    placements = [(Placement(v.id, tier.name), v, tier) for v in variants for tier in tiers]
    return (
        Catalogue.empty()
        .with_tasks(Task(TASK, (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 1)),), "accuracy"))
        .with_tiers(*tiers)
        .with_variants(*variants)
        .with_placements(*(placement for placement, _, _ in placements))
        .with_profiles(*(_profile(placement, v.name, tier) for placement, v, tier in placements))
    )


class FailingStore(MemoryStore):
    """A store that has a head, and cannot be read while it has a fault."""

    def __init__(self) -> None:
        super().__init__()
        self.unreachable: RegistryError | None = None
        self.damaged: RegistryError | None = None

    def head(self) -> int:
        """The newest version, unless it cannot be reached."""
        if self.unreachable is not None:
            raise self.unreachable
        return super().head()

    def load(self, version: int | None = None) -> Catalogue:
        """A release, unless it is damaged."""
        if self.damaged is not None:
            raise self.damaged
        return super().load(version)


class House:
    """A service over one faulty fake for each tier; every outcome goes into the tally."""

    def __init__(self, tally: Tally, seed: int) -> None:
        self.tally = tally
        self.random = Random(seed)
        self.clock = asyncio.get_running_loop().time
        self.store = FailingStore()
        self.catalogue = self.store.publish(facts())
        self.snapshots = Snapshots(self.catalogue)
        self.watch = CatalogueWatch(self.store, self.snapshots, clock=self.clock, thread=AtOnce())
        self.records: Counter[str] = Counter()
        self.fakes = {tier.name: self._fake(tier) for tier in self.catalogue.tiers.values()}
        self.faulty = {name: Faulty(fake) for name, fake in self.fakes.items()}
        self.service = Service(self.snapshots, self.faulty, clock=self.clock, observers=[self._observe])

    async def play(
        self, rate: float, phase_s: float, begin: Callable[[House], None], end: Callable[[House], None]
    ) -> None:
        """Poisson requests, `rate` a second, in three phases; what is broken is so in the second alone.

        Who was told to come back is not expected to have done so until RECOVERY_S after the fault: that still counts
        as its phase.
        """
        steps: tuple[tuple[Phase, float, Callable[[House], None]], ...] = (
            (Phase.BEFORE, phase_s, _nothing),
            (Phase.DURING, phase_s, begin),
            (Phase.DURING, RECOVERY_S, end),
            (Phase.AFTER, phase_s, _nothing),
        )
        sent: list[asyncio.Task[None]] = []
        for phase, lasts_s, change in steps:
            change(self)
            until = self.clock() + lasts_s
            while (pause := self.random.expovariate(rate)) + self.clock() < until:
                await asyncio.sleep(pause)
                sent.append(asyncio.create_task(self._ask(phase)))
            await asyncio.sleep(max(0.0, until - self.clock()))
        await asyncio.gather(*sent)
        self.tally.duplicated += sum(count - 1 for count in self.records.values())
        await self.service.close()
        for backend in self.faulty.values():
            await backend.close()

    def every(self, backends: tuple[str, ...] | None = None) -> list[Faulty]:
        """The backends of these tiers, or all."""
        return [self.faulty[name] for name in backends or tuple(self.faulty)]

    def while_broken(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something beside the requests."""
        return asyncio.create_task(work)

    async def _ask(self, phase: Phase) -> None:
        hints, value, rows = self.random.choice(HINTS), self.random.random(), self.random.choice((1, 1, 4))
        strict = hints.get("on_infeasible") == "strict"
        longest_s = max(tier.timeout_s for tier in self.catalogue.tiers.values())
        deadline_s = hints["latency_ms"] / 1000 if strict else longest_s
        began = self.clock()
        try:
            self.watch.look()
            answer = await self.service.predict(ANONYMOUS, TASK, {"x": np.full((rows, 2), value, np.float32)}, hints)
        except GatewayError as error:
            end = End.CLEAR_ERROR if error.code != GatewayError.code and str(error) else End.LOST
        except Exception:  # noqa: BLE001 - whatever else a caller might get is no clear error
            end = End.LOST
        else:
            np.testing.assert_array_equal(answer.outputs["y"], np.full((rows, 1), np.float32(value) * 2))
            end = End.ANSWERED
        self.tally.ended(phase, end, self.clock() - began, deadline_s)

    def _observe(self, record: Record) -> None:
        self.records[record.id] += 1

    def _fake(self, tier: Tier) -> FakeBackend:
        return FakeBackend(
            tier,
            emit=self.snapshots.emit,
            answer=doubled,
            clock=self.clock,
            timing=measured(self.catalogue.profiles),
            uniform=self.random.random,
            queue=16,
        )


def _nothing(house: House) -> None:
    """All stays as it is."""


def doubled(invocation: Invocation) -> Tensors:
    """The answer of every variant of the task."""
    return {"y": invocation.inputs["x"][:, :1] * 2}


def _variant(name: str) -> Variant:
    value = ACCURACY[name]
    digest = f"blake3:{list(RUN_MS).index(name):064x}"
    return Variant(TASK, name, digest, Recipe("train"), Accuracy(value, value - 0.01, value + 0.01, 1000, "wilson"))


def _profile(placement: Placement, name: str, tier: Tier) -> Profile:
    ms = RUN_MS[name] * SPEED[tier.name]
    service = tuple(ServiceTime(rows, _spread(ms * rows**0.7), ms * rows**0.7) for rows in (1, 4, 16))
    init = ZERO if tier.name == GPU else _spread(150.0)
    return Profile(
        placement.id, service, _spread(20.0), init, 10.0, "described", "none", 500, "2026-01-01T00:00:00+00:00"
    )


def _spread(ms: float) -> Quantiles:
    """From 0.8 to 1.5 times the median, evenly over the levels that profiles keep."""
    factors = np.linspace(0.8, 1.5, len(LEVELS))
    return Quantiles(tuple(float(ms * factor) for factor in factors), float(ms * factors.mean()))
