"""Whether choices follow a placement's service time when it changes and when it recovers, and what that is worth.

Two of the digits' variants are registered on the inline tier and compete under one SLO: the accurate one, which holds
it with little to spare, and the fast one. Requests arrive at random times, always the same. After a steady phase the
accurate one's runs take `factor` times as long, for real, and after another phase as long as before. `moved_after` and
`back_after` count requests from each change to the first of RUN in a row that are decided for the other one;
`noticed_after` to the first that finds the believed pace past half of the change. The same is run with what was
measured once, and nothing learnt since; attainment is the share of all requests that held the SLO.
"""

from __future__ import annotations

import asyncio
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.harness import Row, interval, run
from examples import export
from examples.digits import data
from examples.digits.build import TASK
from examples.digits.variants import candidates
from examples.training import train
from gateway.auth import ANONYMOUS
from gateway.backends.open import open_backends
from gateway.backends.protocol import Backend, Invocation, Reply, Tensors, TierStatus
from gateway.decisions import Served
from gateway.errors import GatewayError
from gateway.local import Platform
from gateway.service import Service
from gateway.snapshots import Snapshots
from optimizer.evaluation import Evaluation
from optimizer.plan import Plan
from optimizer.register import register
from optimizer.registration import Model, Registration
from registry.blobs import Blobs
from registry.catalogue import Catalogue
from registry.model import LEVELS, Placement, Tier, Variant
from registry.prices import local_tiers
from scheduler.events import Event, Measured
from scheduler.probing import Probe

ACCURATE, FAST = "svm", "forest-16"

ROWS = 8
"""Of each request."""

LONGER_MS = {ACCURATE: 6.0, FAST: 1.0}
"""What every run takes beyond its own time, when it is profiled too: so that it can be made faster, and that the
machine's other work is not most of it."""

FACTORS = (2.0, 1.2, 0.8, 1.0)
"""The last changes nothing: whatever moves then is a false alarm."""

SLACK = 1.5
"""The SLO's latency in profiled 95th percentiles of the accurate one: held at a factor of 1.2, and not at 2."""

LOAD = 0.5
"""Requests that run at once on average, of the two that the tier has slots for, where nothing is changed."""

RUN = 5
"""Decisions in a row that are a move."""

LEVEL = LEVELS.index(0.95)


@dataclass(frozen=True, slots=True)
class Length:
    """How long to measure."""

    steady: int
    changed: int
    restored: int
    repeats: int
    plan: Plan


LONG = Length(steady=150, changed=150, restored=150, repeats=7, plan=Plan(cell_s=0.5, alone=False))
SHORT = Length(steady=40, changed=60, restored=80, repeats=2, plan=Plan(cell_s=0.1, most=100, alone=False, starts=2))


class Slowed:
    """A backend whose runs take longer than its own; `factors` says how many times, by variant, and may change."""

    def __init__(self, inner: Backend) -> None:
        self.tier = inner.tier
        self.factors: dict[str, float] = {}
        self._inner = inner
        self._slots = asyncio.Semaphore(inner.tier.concurrency)

    async def invoke(self, invocation: Invocation) -> Reply:
        """Run in a slot, and hold it for as long as the run is to take longer."""
        asked = time.perf_counter()
        async with self._slots:
            started = time.perf_counter()
            reply = await self._inner.invoke(invocation)
            ran_ms = (time.perf_counter() - started) * 1000
            own_ms = LONGER_MS[invocation.variant.name] + ran_ms
            longer_ms = own_ms * self.factors.get(invocation.variant.id, 1.0) - ran_ms
            # On a thread: a loop's timers are a millisecond apart.
            await asyncio.to_thread(time.sleep, max(0.0, longer_ms) / 1000)
        wait_ms = (started - asked) * 1000
        return replace(reply, billed_ms=reply.billed_ms + longer_ms, wait_ms=wait_ms)

    async def prepare(self) -> None:
        """See Backend."""
        await self._inner.prepare()

    def status(self) -> TierStatus:
        """See Backend."""
        return self._inner.status()

    async def ensure(self, placement: Placement, variant: Variant, copies: int, *, for_s: float = 0.0) -> None:
        """See Backend."""
        await self._inner.ensure(placement, variant, copies, for_s=for_s)

    async def release(self, copies: int = 0) -> None:
        """See Backend."""
        await self._inner.release(copies)

    async def close(self) -> None:
        """See Backend."""
        await self._inner.close()


class Frozen(Snapshots):
    """Snapshots that learn nothing from answers."""

    def emit(self, event: Event) -> None:
        """Take in an event unless it says what an answer took."""
        if not isinstance(event, Measured):
            super().emit(event)


@dataclass(slots=True)
class Trial:
    """One run through the three phases: by request, in the order of arrival."""

    served: list[Served | None]
    paces: list[float]
    """What was believed of the accurate one's pace when each request was decided."""
    probes: int = 0


@dataclass(frozen=True, slots=True)
class World:
    """What every trial shares."""

    catalogue: Catalogue
    blobs: Blobs
    tier: Tier
    inputs: Tensors
    length: Length

    @property
    def accurate(self) -> str:
        """The placement that is changed."""
        return next(p.id for p in self.catalogue.placements_of(TASK.name) if p.variant.endswith(ACCURATE))

    def profiled_ms(self, level: int) -> float:
        """The accurate one's profiled service of ROWS rows."""
        return next(s.latency.ms[level] for s in self.catalogue.profiles[self.accurate].service if s.rows == ROWS)


def rows(quick: bool) -> Sequence[Row]:
    """One row for each factor."""
    length = SHORT if quick else LONG
    with tempfile.TemporaryDirectory(prefix="adapt-") as folder:
        return asyncio.run(_rows(Path(folder), length))


async def _rows(home: Path, length: Length) -> list[Row]:
    tier = next(tier for tier in local_tiers() if tier.name == "inline")
    async with Platform.open(home) as platform:
        registration = _registration(tier)
        slowed: dict[str, Backend] = {}
        platform.serve(tier)
        slowed[tier.name] = Slowed(platform.backends[tier.name])
        await register(registration, platform.store, platform.blobs, slowed, plan=length.plan, clock=platform.clock)
        inputs = {"image": registration.evaluation.inputs["image"][:ROWS]}
        world = World(await platform.refresh(), platform.blobs, tier, inputs, length)
        return [await _of_factor(world, factor) for factor in FACTORS]


def _registration(tier: Tier) -> Registration:
    digits = data.load()
    plain = (digits.train, digits.train_labels)
    chosen = [candidate for candidate in candidates() if candidate.name in (ACCURATE, FAST)]
    made = train(chosen, plain, plain, lambda estimator: export.classifier(estimator, 64, 10, input_name="image"))
    held_out = Evaluation({"image": digits.held_out}, "label", digits.held_out_labels)
    models = tuple(Model(variant.name, variant.model, variant.recipe) for variant in made)
    return Registration(TASK, held_out, {}, models, (tier,))


async def _of_factor(world: World, factor: float) -> Row:
    trials: dict[type[Snapshots], list[Trial]] = {Snapshots: [], Frozen: []}
    for turn in range(world.length.repeats):
        print(f"  factor {factor:g}: {turn + 1} of {world.length.repeats}", file=sys.stderr)
        for kind in (Snapshots, Frozen) if turn % 2 == 0 else (Frozen, Snapshots):
            trials[kind].append(await _trial(world, kind(world.catalogue), factor, seed=turn))
    adaptive, length, id_ = trials[Snapshots], world.length, world.accurate
    back_from = length.steady + length.changed
    left = [_first(trial, lambda p: p != id_, length.steady, back_from) for trial in adaptive]
    back = [_first(trial, lambda p: p == id_, back_from, back_from + length.restored) for trial in adaptive]
    return {
        "factor": factor,
        **_spread("noticed_after", [_noticed(trial, factor, length) for trial in adaptive], length.changed),
        **_spread("moved_after", left, length.changed),
        **_spread("back_after", [b for a, b in zip(left, back, strict=True) if a is not None], length.restored),
        **_spread("attainment_adaptive", [_attained(trial) for trial in adaptive], None),
        **_spread("attainment_frozen", [_attained(trial) for trial in trials[Frozen]], None),
        "moved": sum(a is not None for a in left),
        "trials": len(adaptive),
        "false_alarms": sum(_false_alarms(trial, length.steady if factor != 1.0 else None) for trial in adaptive),
        "probes": sum(trial.probes for trial in adaptive),
        "slo_ms": SLACK * world.profiled_ms(LEVEL),
        "p50_ms": world.profiled_ms(LEVELS.index(0.5)),
    }


async def _trial(world: World, snapshots: Snapshots, factor: float, seed: int) -> Trial:
    """Steady, changed and restored, at the arrivals of the seed."""
    backends = open_backends([world.tier], emit=snapshots.emit, blobs=world.blobs)
    slowed = Slowed(backends[world.tier.name])
    probes: list[Probe] = []
    service = Service(snapshots, {world.tier.name: slowed}, probed=probes.append)
    trial = Trial([], [])
    steps = (world.length.steady, world.length.changed, world.length.restored)
    gaps = np.random.default_rng(seed).exponential(world.profiled_ms(LEVELS.index(0.5)) / 1000 / LOAD, sum(steps))
    changed = range(steps[0], steps[0] + steps[1])
    try:
        for objective in ("accuracy", "latency") * 5:  # both are loaded, and caches are filled
            await service.predict(ANONYMOUS, TASK.name, world.inputs, {"objective": objective, "latency_ms": None})
        due = service.clock() + np.cumsum(gaps)
        asked = []
        for i, at in enumerate(due.tolist()):
            await asyncio.sleep(max(0.0, at - service.clock()))
            slowed.factors[_variant(world)] = factor if i in changed else 1.0
            trial.paces.append(snapshots.view()[1].pace(world.accurate, service.clock()))
            asked.append(asyncio.create_task(_ask(service, world, at)))
        trial.served = list(await asyncio.gather(*asked))
        trial.probes = len(probes)
    finally:
        await service.close()
        await slowed.close()
    return trial


def _variant(world: World) -> str:
    return world.catalogue.placements[world.accurate].variant


async def _ask(service: Service, world: World, arrived: float) -> Served | None:
    hints = {"latency_ms": SLACK * world.profiled_ms(LEVEL), "percentile": 95.0, "objective": "accuracy"}
    try:
        answer = await service.predict(ANONYMOUS, TASK.name, world.inputs, hints, arrived=arrived)
    except GatewayError:
        return None
    return answer.decision


def _first(trial: Trial, where: Callable[[str], bool], start: int, stop: int) -> int | None:
    """Requests from `start` to the first of RUN in a row that were decided for such a placement; None if none was."""
    decided = [where(s.placement) if s is not None else False for s in trial.served]
    return next((i - start for i in range(start, stop - RUN + 1) if all(decided[i : i + RUN])), None)


def _noticed(trial: Trial, factor: float, length: Length) -> int | None:
    """Requests from the change to the first that finds the believed pace past half of it, in logarithms."""
    if factor == 1.0:
        return None
    half = math.log(factor) / 2
    changed = trial.paces[length.steady : length.steady + length.changed]
    return next((i for i, pace in enumerate(changed) if math.log(pace) / half >= 1.0), None)


def _attained(trial: Trial) -> float:
    return float(np.mean([s is not None and s.slo_met for s in trial.served]))


def _false_alarms(trial: Trial, until: int | None) -> int:
    """How often the believed pace of a placement that did not change came to be as if it had, by 20 %."""
    away = [abs(math.log(pace)) > math.log(1.2) / 2 for pace in trial.paces[:until]]
    return sum(b and not a for a, b in pairwise([False, *away]))


def _spread(name: str, found: Sequence[float | None], never: int | None) -> dict[str, float | None]:
    """Median and 95 % interval; what never happened counts as `never`, and None stands where nothing is to be found."""
    values = [float(value) if value is not None else float(never or 0) for value in found]
    if not values or all(value is None for value in found):
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return dict(zip((name, f"{name}_low", f"{name}_high"), interval(values), strict=True))


if __name__ == "__main__":
    sys.exit(run("adapt", rows))
