"""The ways to run many sporadic tasks that `benchmarks.cost` compares, sized by an operator; it simulates nothing.

An operator knows the SLOs, the profiles and the busiest minute, and takes the least that holds the SLO then. What the
always-on systems need beside their containers (load balancers, spare copies elsewhere) is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import numpy as np

from benchmarks.policies import OVERHEAD_MS
from benchmarks.portfolio import Application, Placed, catalogue, everywhere
from benchmarks.vision import Model, placed_on, variant_of
from registry.catalogue import Catalogue
from registry.model import LEVELS, Placement, Slo, StartMode, Tier, TierKind
from registry.prices import (
    LAMBDA_CONCURRENCY,
    container_price,
    lambda_price,
    local_tiers,
    vcpus_of,
)
from scheduler.actions import Warm
from scheduler.keeping import MEMORY_SHARE
from simulator.arrivals import Floats
from simulator.hardware import Hardware, Lifetime, uniform
from simulator.policies.capacity import Budget, Prewarming
from simulator.policies.infaas import Infaas
from simulator.policies.options import CONTAINERS
from simulator.policies.platform import platform
from simulator.policies.slackfit import SlackFit
from simulator.policies.tracking import Baseline
from simulator.policy import Action, Invoke, Job, Policy
from simulator.simulation import Stream

FARGATE: Mapping[float, tuple[int, ...]] = {
    0.25: (512, 1024, 2048),
    0.5: (1024, 2048, 4096),
    1.0: (2048, 4096, 8192),
    2.0: (4096, 8192, 16384),
    4.0: (8192, 16384, 30720),
    8.0: (16384, 32768, 61440),
    16.0: (32768, 65536, 122880),
}
"""vCPUs and memory (MB) of a task (Amazon ECS Developer Guide, Fargate task definitions; steps between left out)."""

LAMBDA_MB = (512, 1024, 1769, 3538)

USED = 0.5
"""Share of an endpoint's time that the busiest minute may take: beyond it, queues alone break the bounds."""

LIFETIME: Lifetime = uniform(300.0, 3600.0)
"""How long Lambda keeps what is idle, it does not say; 5 to 60 minutes is what is commonly observed."""

MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class System:
    """What is deployed and who decides there."""

    catalogue: Catalogue
    policy: Callable[[], Policy]
    hardware: Hardware
    routed: bool = False
    """Whether every request goes through the platform's own functions."""

    def platform(self, policy: Policy) -> Hardware:
        """The hardware, with the copies that the policy begins with."""
        return platform(policy, self.hardware)


class Fixed(Baseline):
    """Each task's one placement, whatever its state: an endpoint or a function for each model."""

    name = "fixed"
    period_s = 86_400.0

    def __init__(self, catalogue: Catalogue, copies: Mapping[str, int]) -> None:
        super().__init__(catalogue)
        self._copies = copies
        self._placements: dict[str, Placement] = {p.task: p for p in catalogue.placements.values()}

    def initial(self) -> Mapping[str, int]:
        """Its operator's."""
        return {**super().initial(), **self._copies}

    def arrive(self, job: Job, now: float) -> Iterable[Action]:
        """Invoke it."""
        del now
        return [Invoke(self._placements[job.request.task], (job,))]

    def tick(self, now: float) -> Iterable[Action]:
        """Load what is always on, once: it stays."""
        del now
        tiers = self.catalogue.tiers
        placed = [p for p in self._placements.values() if tiers[p.tier].kind in CONTAINERS]
        return [Warm(p, "it is always on", self._copies[p.tier]) for p in placed]


def per_model(apps: Sequence[Application], streams: Sequence[Stream]) -> System:
    """An always-on endpoint for each task, of the size and number that cost least."""
    chosen = [_endpoint(app, busiest(stream.times)) for app, stream in zip(apps, streams, strict=True)]
    made = catalogue([placed for placed, _ in chosen])
    copies = {tier.name: count for (_, _, tier), count in chosen}
    return System(made, lambda: Fixed(made, copies), _hardware())


def shared(apps: Sequence[Application], streams: Sequence[Stream]) -> System:
    """Always-on copies of one endpoint that hold every variant that may answer; SlackFit decides which does.

    It takes faster variants where many wait, so that the copies are enough for each task's fastest.
    """
    rate = busiest(np.concatenate([stream.times for stream in streams]))
    asked = [len(stream.times) for stream in streams]
    sizes = [_common(apps, asked, tier, rate) for tier in _fargate("shared", whole=True)]
    placed, _, copies = min((size for size in sizes if size is not None), key=lambda s: s[2] * _usd_per_s(s[1]))
    made = catalogue(placed)
    return System(made, lambda: SlackFit(made, copies), _hardware())


def infaas(apps: Sequence[Application], streams: Sequence[Stream]) -> System:
    """INFaaS on workers of two cores, which it starts and stops itself; one is always there."""
    del streams
    made = catalogue(everywhere(apps, [tier for tier in local_tiers() if tier.kind is TierKind.CONTAINER]))
    return System(made, lambda: Infaas(made), _hardware())


def lambda_per_model(apps: Sequence[Application], streams: Sequence[Stream]) -> System:
    """A function for each task, started when it is asked for."""
    del streams
    made = catalogue([_function(app) for app in apps])
    return System(made, lambda: Fixed(made, {}), _hardware(lifetimes=dict.fromkeys(made.tiers, LIFETIME)))


def lambda_provisioned(apps: Sequence[Application], streams: Sequence[Stream]) -> System:
    """The same, with an environment provisioned for each, its model loaded."""
    del streams
    placed = [_function(app) for app in apps]
    made = catalogue(placed)
    loaded = {tier.name: (app.variant(model).id,) for app, model, tier in placed}
    return System(
        made,
        lambda: Fixed(made, {}),
        _hardware(
            lifetimes=dict.fromkeys(made.tiers, LIFETIME), provisioned=dict.fromkeys(made.tiers, 1), snapshots=loaded
        ),
    )


def modelless(
    apps: Sequence[Application], streams: Sequence[Stream], budget: Budget, tiers: tuple[Tier, ...]
) -> System:
    """Ours on a few functions, each for all tasks."""
    del streams
    made = _everywhere(tuple(apps), tiers)
    snapshots = {tier.name: snapshot(apps, tier) for tier in tiers if tier.start_mode is StartMode.SNAPSTART}
    lifetimes = {tier.name: LIFETIME for tier in tiers}
    return System(made, lambda: Prewarming(made, budget), _hardware(lifetimes=lifetimes, snapshots=snapshots), True)


@cache
def _everywhere(apps: tuple[Application, ...], tiers: tuple[Tier, ...]) -> Catalogue:
    return catalogue(everywhere(apps, tiers))


def snapshot(apps: Sequence[Application], tier: Tier) -> tuple[str, ...]:
    """Variants that a tier's snapshot has: of each task the smallest that is accurate enough, while there is room."""
    held, left_mb = [], tier.memory_mb * MEMORY_SHARE
    for app in apps:
        accurate = [model for model in app.models if model.accuracy >= (app.slo.min_accuracy or 0.0)]
        model = min(accurate, key=lambda model: model.parameters_m)
        memory_mb = placed_on(app.variant(model), model, tier)[1].memory_mb
        if memory_mb <= left_mb:
            held.append(app.variant(model).id)
            left_mb -= memory_mb
    return tuple(held)


def busiest(times: Floats) -> float:
    """Requests a second in the busiest minute; 0 without any."""
    return float(np.bincount((times / MINUTE_S).astype(np.int64)).max()) / MINUTE_S if len(times) else 0.0


class Held(NamedTuple):
    """A model that holds an SLO somewhere, resident and alone."""

    model: Model
    ms: float
    """Mean service."""
    memory_mb: float


def _endpoint(app: Application, rate: float) -> tuple[Placed, int]:
    """The cheapest endpoint that holds an application's SLO, with its most accurate model there, and how many."""
    found = []
    for tier in _fargate(f"endpoint-{app.task.name}", whole=False):
        best = _best(app, tier)
        if best is not None:
            found.append(((app, best.model, tier), _copies(rate * best.ms / 1000, tier)))
    return min(found, key=lambda each: each[1] * _usd_per_s(each[0][2]))


def _function(app: Application) -> Placed:
    """The smallest function that holds an application's SLO while it is warm, with its most accurate model there."""
    for memory_mb in LAMBDA_MB:
        tier = Tier(
            name=f"function-{app.task.name}",
            kind=TierKind.LAMBDA,
            vcpus=vcpus_of(memory_mb),
            memory_mb=memory_mb,
            concurrency=LAMBDA_CONCURRENCY,
            start_mode=StartMode.ONDEMAND,
            price=lambda_price(memory_mb),
        )
        best = _best(app, tier)
        if best is not None:
            return app, best.model, tier
    raise ValueError(f"no function holds the SLO of {app.task.name}")


def _common(
    apps: Sequence[Application], asked: Sequence[int], tier: Tier, rate: float
) -> tuple[list[Placed], Tier, int] | None:
    """What one size of a shared endpoint would hold and how many are needed; None where it does not hold all."""
    held = [(app, _held(app.models, app.slo, tier)) for app in apps]
    memory_mb = sum(each.memory_mb for _, of_app in held for each in of_app)
    if not all(of_app for _, of_app in held) or memory_mb > tier.memory_mb * MEMORY_SHARE:
        return None
    fastest_ms = [min(each.ms for each in of_app) for _, of_app in held]
    mean_ms = float(np.dot(fastest_ms, asked)) / max(1, sum(asked))
    placed = [(app, each.model, tier) for app, of_app in held for each in of_app]
    return placed, tier, _copies(rate * mean_ms / 1000, tier)


def _best(app: Application, tier: Tier) -> Held | None:
    """The most accurate model that holds an application's SLO on a tier and fits."""
    held = _held(app.models, app.slo, replace(tier, name="any"))
    fitting = [each for each in held if each.memory_mb <= tier.memory_mb * MEMORY_SHARE]
    return max(fitting, key=lambda each: (each.model.accuracy, -each.ms), default=None)


@cache
def _held(models: tuple[Model, ...], slo: Slo, tier: Tier) -> tuple[Held, ...]:
    """The models that hold an SLO on a tier, with what an answer takes besides."""
    found = []
    for model in models:
        profile = placed_on(variant_of("any", model), model, tier)[1]
        latency = profile.service[0].latency
        late = np.interp(slo.percentile / 100, LEVELS, latency.ms) + OVERHEAD_MS > (slo.latency_ms or math.inf)
        if not late and model.accuracy >= (slo.min_accuracy or 0.0):
            found.append(Held(model, latency.mean, profile.memory_mb))
    return tuple(found)


def _copies(load: float, tier: Tier) -> int:
    return max(1, math.ceil(load / tier.concurrency / USED))


def _fargate(name: str, *, whole: bool) -> list[Tier]:
    """Every size as a tier: of several runs at once, one on each core, or `whole` being false of one run."""
    return [
        Tier(
            name=name,
            kind=TierKind.CONTAINER,
            vcpus=vcpus,
            memory_mb=memory_mb,
            concurrency=max(1, int(vcpus)) if whole else 1,
            start_mode=StartMode.ALWAYS,
            price=container_price(vcpus, memory_mb),
        )
        for vcpus, memories in FARGATE.items()
        for memory_mb in memories
    ]


def _usd_per_s(tier: Tier) -> float:
    return tier.price.usd_per_idle_s


def _hardware(
    lifetimes: Mapping[str, Lifetime] | None = None,
    provisioned: Mapping[str, int] | None = None,
    snapshots: Mapping[str, tuple[str, ...]] | None = None,
) -> Hardware:
    return Hardware(
        overhead_ms=OVERHEAD_MS,
        lifetimes=lifetimes or {},
        provisioned=provisioned or {},
        snapshots=snapshots or {},
    )
