"""INFaaS: picks among loaded variants and scales them by replicas or upgrades; never predicts, never batches ahead.

Romero et al., INFaaS, ATC 2021: selection is Algorithm 1, scaling sections 4.2.1 and 4.2.2; the constants are those of
the released worker's autoscaler. A replica is one slot of a container copy.
"""

from __future__ import annotations

import math
from collections import Counter

from registry.catalogue import Catalogue
from registry.model import Slo, Tier, TierKind
from simulator.policies.options import Option, fastest, feasible
from simulator.policies.pools import Lane, Pooled
from simulator.policy import Action, Job

HEADROOM = 0.95
"""Share of a CPU replica's capacity that is planned with; others are filled, and a load's duration comes on top."""

LOADING = 0.0002
"""Of the capacity for each millisecond of load, where replicas are not on CPUs."""

MOST = {TierKind.CONTAINER: 2, TierKind.GPU: 1}
"""Replicas of a variant beyond which another one counts 1,000 loads more; StaticScaler keeps as many."""

PENALTY = 1000

UPGRADE = 1.5
"""An upgrade is preferred where scaling out costs more than so many times as much."""

VOTES = {TierKind.CONTAINER: 10, TierKind.GPU: 20}
"""Consecutive periods that must agree before a replica is removed."""

CANDIDATES = 10
"""Fastest variants that an upgrade may go to."""

FULL = 0.8
"""A worker is added beyond this utilisation of all (its VM-autoscaler)."""

IDLE_TICKS = 30
"""Periods before an idle worker is shut down: 15 loops of 2 s."""


class Infaas(Pooled):
    """Selection with the scaler of the paper: the cheaper of more replicas and a faster variant."""

    name = "infaas"

    def __init__(self, catalogue: Catalogue) -> None:
        super().__init__(catalogue)
        self._votes: Counter[str] = Counter()
        self._workers = Counter(self.initial())
        self._low: Counter[str] = Counter()

    def route(self, job: Job, now: float) -> Lane | None:
        """Algorithm 1: the least loaded of what is loaded and holds the bounds, else what loads and runs soonest."""
        lanes, slo = self.lanes_of(job.request.task), job.request.slo
        valid = _valid(lanes, slo)
        if not valid:
            return None
        loaded = [lane for lane in valid if lane.units]
        calm = [lane for lane in loaded if not _overloaded(lane, now)]
        if loaded:
            return min(calm or loaded, key=lambda lane: (lane.load, lane.option.usd(1), lane.option.id))
        soonest = min(valid, key=lambda lane: (lane.option.load_ms + lane.option.ms[0], lane.option.id))
        soonest.units = 1
        return soonest

    def tick(self, now: float) -> list[Action]:
        """Scale every task's variants, then keep the plan in force."""
        for task in self.slos:
            self.scale(task, now)
        for tier in self.initial():
            self._idle(tier)
        return [*super().tick(now)]

    def scale(self, task: str, now: float) -> None:
        """More replicas of the same, or of the fastest of the ten, whichever costs fewer milliseconds of load."""
        lanes = [lane for lane in self.lanes_of(task) if lane.units]
        needs = {lane: replicas for lane in lanes if (replicas := _missing(lane, now)) > 0}
        if needs:
            upgrade = fastest_of(_valid(self.lanes_of(task), self.slos[task]))
            short = sum(replicas * lane.option.throughput(1) for lane, replicas in needs.items())
            more = math.ceil(short / upgrade.option.throughput(1)) if upgrade is not None else 0
            if upgrade is not None and upgrade not in needs and _prefers_upgrade(needs, upgrade, more):
                needs = {upgrade: more}
        for lane, replicas in needs.items():
            lane.units += replicas
        self.vote([lane for lane in lanes if lane not in needs], now)

    def vote(self, lanes: list[Lane], now: float) -> None:
        """Remove a replica of what could do with one fewer for long enough."""
        for lane in lanes:
            lower = (lane.units - 1) * lane.option.throughput(1)
            spare = _demand(lane, now) <= lower and not lane.queue
            self._votes[lane.option.id] = self._votes[lane.option.id] + 1 if spare else 0
            if self._votes[lane.option.id] >= VOTES[lane.option.tier.kind]:
                self._votes[lane.option.id] = 0
                lane.units -= 1

    def copies(self, tier: Tier, units: int) -> int:
        """Workers: never fewer than at the beginning, and what is not needed stays for a while."""
        return max(workers(tier, units), self._workers[tier.name])

    def _idle(self, tier: str) -> None:
        used = sum(lane.units for lane in self.lanes.values() if lane.option.tier.name == tier)
        wanted = max(workers(self.catalogue.tiers[tier], used), self.initial()[tier])
        self._low[tier] = self._low[tier] + 1 if wanted < self._workers[tier] else 0
        if wanted > self._workers[tier] or self._low[tier] >= IDLE_TICKS:
            self._workers[tier], self._low[tier] = wanted, 0


class InfaasIndividual(Infaas):
    """The released IndividualScaler, which stands for Clipper and SageMaker: more of the same variant only."""

    name = "infaas_individual"

    def scale(self, task: str, now: float) -> None:
        """Add what is missing; one is removed like in the paper's scaler."""
        lanes = [lane for lane in self.lanes_of(task) if lane.units]
        for lane in lanes:
            lane.units += max(0, _missing(lane, now))
        self.vote(lanes, now)


class InfaasStatic(Infaas):
    """The released StaticScaler: a fixed number of replicas of every variant that runs."""

    name = "infaas_static"

    def scale(self, task: str, now: float) -> None:
        """Two on CPUs, one on a GPU."""
        for lane in self.lanes_of(task):
            if lane.units:
                lane.units = MOST[lane.option.tier.kind]


def workers(tier: Tier, units: int) -> int:
    """Copies for so many units: one more where every one would be used beyond FULL."""
    needed = math.ceil(units / tier.concurrency)
    return needed + (needed > 1 and units > FULL * needed * tier.concurrency)


def fastest_of(lanes: list[Lane]) -> Lane | None:
    """The lane of most throughput among the ten fastest; None without any."""
    top = sorted(lanes, key=lambda lane: (lane.option.ms[0], lane.option.id))[:CANDIDATES]
    return max(top, key=lambda lane: lane.option.throughput(1)) if top else None


def _valid(lanes: list[Lane], slo: Slo) -> list[Lane]:
    """What holds the bounds, or else the closest to them: the fastest that is accurate enough."""
    holding = feasible([lane.option for lane in lanes], slo)
    accurate = [lane.option for lane in lanes if lane.option.accuracy >= (slo.min_accuracy or 0.0)]
    chosen: list[Option] = holding or ([fastest(accurate)] if accurate else [])
    return [lane for lane in lanes if lane.option in chosen]


def _demand(lane: Lane, now: float) -> float:
    """A second; its metadata is renewed every two."""
    return lane.rate.mean(now, 2)


def _overloaded(lane: Lane, now: float) -> bool:
    """At its profiled peak or beyond (Figure 4)."""
    return _demand(lane, now) >= lane.units * lane.option.throughput(1)


def _missing(lane: Lane, now: float) -> int:
    """Replicas to add for the load of the last seconds."""
    one, required = lane.option.throughput(1), _demand(lane, now)
    current = lane.units * one
    on_cpu = lane.option.tier.kind is TierKind.CONTAINER
    short = required - HEADROOM * current if on_cpu else required - current + LOADING * current * lane.option.load_ms
    return math.ceil(short / one) if short > 0 else 0


def _prefers_upgrade(needs: dict[Lane, int], upgrade: Lane, more: int) -> bool:
    individual = sum(
        lane.option.load_ms * (replicas + PENALTY * (lane.units + replicas > MOST[lane.option.tier.kind]))
        for lane, replicas in needs.items()
    )
    return individual > UPGRADE * upgrade.option.load_ms * more
