"""The gateway over fake backends and the simulator are given the same, and do the same: placement, start, latency."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np
import pytest

from gateway.auth import Principal
from gateway.backends.fake import FakeBackend, measured
from gateway.decisions import Record
from gateway.errors import GatewayError
from gateway.service import Service
from gateway.snapshots import Snapshots
from gateway.virtual_time import run_virtually
from registry.catalogue import Catalogue
from registry.model import (
    LEVELS,
    Accuracy,
    Objective,
    OnInfeasible,
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
from simulator.environments import QUEUE, THROTTLED_S
from simulator.hardware import Hardware
from simulator.policies.modelless import Modelless
from simulator.policy import Action, Ended, Invoke, Job, Reject
from simulator.simulation import Stream, simulate

ALICE = Principal("alice", "acme")
ROWS = (1, 4)
STRICT = OnInfeasible.STRICT
MB = 2**20


@dataclass(frozen=True)
class Answered:
    """What became of one request."""

    placements: tuple[str, ...]
    """That were tried, the one that answered last; all of them where none did."""
    answered: bool
    cold: bool = False
    loaded: bool = False
    latency_ms: float = math.inf


@dataclass(frozen=True)
class Ask:
    at: float
    task: str
    slo: Slo
    rows: int = 1


def in_gateway(catalogue: Catalogue, asks: Sequence[Ask]) -> list[Answered]:
    """What the real service does, over fake backends in virtual time."""

    async def main() -> list[Answered]:
        clock = asyncio.get_running_loop().time
        snapshots = Snapshots(catalogue)
        backends = {
            tier.name: FakeBackend(
                tier,
                emit=snapshots.emit,
                answer=lambda invocation: {"y": np.ones((invocation.rows, 1), np.float32)},
                clock=clock,
                timing=measured(catalogue.profiles),
                queue=QUEUE if tier.kind is TierKind.PROCESS else 0,
                retry_after_s=THROTTLED_S[tier.kind],
            )
            for tier in catalogue.tiers.values()
        }
        records: dict[int, Record] = {}
        numbers = iter(range(len(asks)))
        service = Service(
            snapshots,
            backends,
            clock=clock,
            wall=lambda: 0.0,
            new_id=lambda: str(next(numbers)),
            observers=[lambda record: records.setdefault(int(record.id), record)],
            probes=False,
        )

        async def ask(one: Ask) -> None:
            await asyncio.sleep(one.at - clock())
            inputs = {"x": np.ones((one.rows, 3), np.float32)}
            with suppress(GatewayError):  # it is on record
                await service.predict(ALICE, one.task, inputs, hints_of(one.slo), arrived=one.at)

        await asyncio.gather(*(ask(one) for one in asks))
        return [told(records[i]) for i in range(len(asks))]

    return run_virtually(main())


def told(record: Record) -> Answered:
    served = record.served
    if served is None:
        assert record.error is not None
        attempts = record.error.details.get("attempts", ())
        return Answered(tuple(a["placement"] for a in attempts if "no time is left" not in a["error"]), False)
    tried = tuple(a.placement for a in served.attempts)
    return Answered(tried, True, served.cold_start, served.loaded, served.latency_ms)


def hints_of(slo: Slo) -> dict[str, Any]:
    return {name: getattr(slo, name) for name in Slo.__slots__}


class Watched(Modelless):
    """Ours, noting what it does."""

    def __init__(self, catalogue: Catalogue) -> None:
        super().__init__(catalogue)
        self.tried: dict[int, list[str]] = {}

    def _noted(self, actions: Sequence[Action]) -> Sequence[Action]:
        for action in actions:
            if isinstance(action, Invoke):
                self.tried.setdefault(action.jobs[0].number, []).append(action.placement.id)
            elif isinstance(action, Reject):
                self.tried.setdefault(action.job.number, [])
        return actions

    def arrive(self, job: Job, now: float) -> Sequence[Action]:
        return self._noted(tuple(super().arrive(job, now)))

    def ended(self, end: Ended, now: float) -> Sequence[Action]:
        return self._noted(tuple(super().ended(end, now)))


def in_simulator(catalogue: Catalogue, asks: Sequence[Ask]) -> list[Answered]:
    """What the simulator makes of the same."""
    policy = Watched(catalogue)
    kinds = list(dict.fromkeys((ask.task, ask.slo, ask.rows) for ask in asks))
    streams = [
        Stream(task, slo, np.array([a.at for a in asks if (a.task, a.slo, a.rows) == (task, slo, rows)]), rows)
        for task, slo, rows in kinds
    ]
    # Nobody but who asked for it gets what a fake backend starts.
    hardware = Hardware(bound=catalogue.tiers)
    outcome = simulate(catalogue, streams, policy, seconds=math.inf, seed=0, hardware=hardware)
    return [
        Answered(
            tuple(policy.tried[i]),
            bool(np.isfinite(outcome.latency_ms[i])),
            bool(outcome.cold[i]),
            bool(outcome.loaded[i]),
            float(outcome.latency_ms[i]),
        )
        for i in range(len(asks))
    ]


def flat(ms: float) -> Quantiles:
    return Quantiles((ms,) * len(LEVELS), ms)


def world(
    *tiers: Tier, tasks: int = 1, load_ms: float = 7.0, init_ms: float = 80.0, memory_mb: float = 10.0
) -> Catalogue:
    """Tasks of three variants on every tier, at times that never vary."""
    made = Catalogue.empty().with_tiers(*tiers)
    spec = TensorSpec("x", "FP32", (-1, 3))
    for number in range(tasks):
        name = f"t{number}"
        made = made.with_tasks(Task(name, (spec,), (TensorSpec("y", "FP32", (-1, 1)),), "accuracy"))
        for rank, (accuracy, run_ms) in enumerate(((0.8, 5.0), (0.9, 12.0), (0.97, 31.0))):
            digest = f"blake3:{10 * number + rank:064x}"
            bounds = Accuracy(accuracy, accuracy, accuracy, 100, "wilson")
            made = made.with_variants(Variant(name, f"v{rank}", digest, Recipe("test"), bounds, int(memory_mb * MB)))
            for speed, tier in enumerate(tiers, 1):
                placement = Placement(f"{name}/v{rank}", tier.name)
                service = tuple(
                    ServiceTime(rows, flat(ms), ms) for rows in ROWS for ms in [run_ms * rows**0.5 / speed**0.3]
                )
                profile = Profile(
                    placement.id, service, flat(load_ms + rank), flat(init_ms / speed), memory_mb, "x", "none", 9, "now"
                )
                made = made.with_placements(placement).with_profiles(profile)
    return made


def tier(name: str, **changes: Any) -> Tier:
    facts: Mapping[str, Any] = {
        "kind": TierKind.PROCESS,
        "vcpus": 1.0,
        "memory_mb": 1769,
        "concurrency": 3,
        "start_mode": StartMode.ONDEMAND,
        "price": Price(usd_per_busy_s=0.00003),
        "idle_timeout_s": 20.0,
        "timeout_s": 3.0,
    }
    return Tier(name, **{**facts, **changes})


def every(seconds: float, count: int, **slo: Any) -> list[Ask]:
    return [Ask(0.1 + i * seconds, "t0", Slo(**slo)) for i in range(count)]


ONE = tier("one")
FEW = tier("few", concurrency=1)
AWAY = tier("away", kind=TierKind.LAMBDA, concurrency=2, price=Price(0.00006, 2e-7))

SCENARIOS: Mapping[str, tuple[Catalogue, Sequence[Ask]]] = {
    "cold, then warm": (world(ONE), every(0.21, 8)),
    "expired between any two": (world(ONE), every(23.7, 6, latency_ms=60.0)),
    "all at once on a tier that queues": (world(FEW), every(0.0007, 40, latency_ms=400.0)),
    "all at once on one that throttles": (world(AWAY), every(0.0013, 12)),
    "from one that throttles to one that queues": (world(AWAY, FEW), every(0.0013, 60, latency_ms=150.0)),
    "strict, and late": (
        world(FEW, AWAY),
        [
            *every(0.5, 4),
            *(
                replace(ask, at=ask.at + 2.0)
                for ask in every(0.00313, 90, latency_ms=45.0, percentile=50.0, on_infeasible=STRICT)
            ),
        ],
    ),
    "memory for two": (
        world(tier("small", memory_mb=25), tasks=2),
        [Ask(0.1 + 0.17 * i, f"t{i % 2}", Slo(min_accuracy=(0.8, 0.9, 0.95)[i % 3])) for i in range(40)],
    ),
    "a tier that is always there": (world(tier("kept", start_mode=StartMode.ALWAYS)), every(30.7, 5)),
    "nothing fits": (world(ONE), [Ask(0.5, "t0", Slo(), rows=65), Ask(0.7, "t0", Slo())]),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_both_do_the_same(name: str) -> None:
    assert_same(*SCENARIOS[name])


@pytest.mark.parametrize("seed", range(12))
def test_both_do_the_same_at_random(seed: int) -> None:
    random = Random(seed)
    tiers = [
        replace(
            tier(f"tier-{i}"),
            kind=random.choice((TierKind.LAMBDA, TierKind.PROCESS)),
            concurrency=random.randint(1, 4),
            idle_timeout_s=random.choice((0.5, 3.0, 60.0)),
            price=Price(random.uniform(1e-5, 1e-4), random.choice((0.0, 2e-7))),
            memory_mb=random.choice((25, 45, 1769)),
        )
        for i in range(random.randint(1, 3))
    ]
    catalogue = world(*tiers, tasks=3, load_ms=random.uniform(1.0, 40.0), init_ms=random.uniform(5.0, 300.0))
    slos = [
        Slo(
            latency_ms=random.choice((None, random.uniform(10.0, 300.0))),
            percentile=random.choice((50.0, 95.0, 99.0)),
            min_accuracy=random.choice((None, 0.85, 0.95)),
            objective=random.choice(tuple(Objective)),
            on_infeasible=random.choice(tuple(OnInfeasible)),
        )
        for _ in range(4)
    ]
    now, asks = 0.0, []
    for _ in range(250):
        now += random.expovariate(random.choice((2.0, 40.0, 400.0)))
        asks.append(Ask(now, f"t{random.randrange(3)}", random.choice(slos), random.choice(ROWS)))
    assert_same(catalogue, asks)


def assert_same(catalogue: Catalogue, asks: Sequence[Ask]) -> None:
    expected, found = in_gateway(catalogue, asks), in_simulator(catalogue, asks)
    assert any(one.answered for one in expected)
    for number, (real, simulated) in enumerate(zip(expected, found, strict=True)):
        assert replace(simulated, latency_ms=0.0) == replace(real, latency_ms=0.0), (number, asks[number])
        assert simulated.latency_ms == pytest.approx(real.latency_ms), (number, asks[number])
