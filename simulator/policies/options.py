"""What a placement's profile promises a planner: latency, throughput and dollars by batch size; it measures nothing."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from registry.catalogue import Catalogue
from registry.model import LEVELS, SHARED, Placement, Profile, Slo, Tier, TierKind
from registry.prices import invocation_cost

FUNCTIONS = frozenset({TierKind.LAMBDA, TierKind.PROCESS})
"""Tiers that start an environment for each run that finds none."""

CONTAINERS = frozenset({TierKind.CONTAINER, TierKind.GPU})
"""Tiers whose copies somebody starts and pays for."""

LARGEST_BATCH = 32
"""No batch of a baseline has more jobs: the default of KServe's batcher."""


@dataclass(frozen=True, slots=True, eq=False)
class Option:
    """A placement as the planners of the papers see it, at one percentile."""

    placement: Placement
    tier: Tier
    accuracy: float
    ms: tuple[float, ...]
    """Warm service of a batch of 1, 2, ... jobs, at the percentile."""
    billed_ms: tuple[float, ...]
    load_ms: float
    """Median load."""
    init_ms: float
    """Median start."""

    @property
    def id(self) -> str:
        """The placement's."""
        return self.placement.id

    @property
    def slots(self) -> int:
        """Runs at once in one environment or copy."""
        return self.tier.concurrency if self.tier.kind in SHARED else 1

    def throughput(self, batch: int) -> float:
        """Jobs a second of one slot in batches of this size."""
        return batch * 1000 / self.ms[batch - 1]

    def largest(self, limit_ms: float) -> int:
        """The largest batch that takes at most so long; 0 where even one job takes longer."""
        return sum(ms <= limit_ms for ms in self.ms)

    def usd(self, batch: int) -> float:
        """Dollars of one warm run; on a container, its share of the copy's price."""
        return invocation_cost(self.tier.price, self.billed_ms[batch - 1])


def options(catalogue: Catalogue, task: str, percentile: float, kinds: Collection[TierKind]) -> tuple[Option, ...]:
    """The profiled placements of a task on tiers of these kinds, the least accurate first; 0-100 `percentile`."""
    found = (
        _option(catalogue, placement, catalogue.profiles[placement.id], percentile)
        for placement in catalogue.placements_of(task)
        if placement.id in catalogue.profiles and catalogue.tiers[placement.tier].kind in kinds
    )
    return tuple(sorted(found, key=lambda option: (option.accuracy, option.ms[0], option.id)))


def feasible(found: Iterable[Option], slo: Slo) -> list[Option]:
    """Those that hold the latency, accuracy and cost bound when warm and alone, in the order given."""
    return [option for option in found if _holds(option, slo)]


def limit_ms(slo: Slo) -> float:
    """The latency bound; infinite without one."""
    return math.inf if slo.latency_ms is None else slo.latency_ms


def most_accurate(found: Sequence[Option]) -> Option:
    """The most accurate, the fastest of several; raises ValueError without any."""
    return max(found, key=lambda option: (option.accuracy, -option.ms[0]))


def fastest(found: Sequence[Option]) -> Option:
    """The fastest for one job; raises ValueError without any."""
    return min(found, key=lambda option: (option.ms[0], option.id))


def best_of_each(found: Iterable[Option]) -> tuple[Option, ...]:
    """The fastest placement of each variant on each tier, the least accurate first."""
    best: dict[tuple[str, str], Option] = {}
    for option in found:
        key = option.placement.variant, option.placement.tier
        if key not in best or option.ms[0] < best[key].ms[0]:
            best[key] = option
    return tuple(sorted(best.values(), key=lambda option: (option.accuracy, option.ms[0], option.id)))


def _holds(option: Option, slo: Slo) -> bool:
    accurate = option.accuracy >= (slo.min_accuracy or 0.0)
    affordable = slo.max_cost_usd is None or option.usd(1) <= slo.max_cost_usd
    return accurate and affordable and option.ms[0] <= limit_ms(slo)


def _option(catalogue: Catalogue, placement: Placement, profile: Profile, percentile: float) -> Option:
    ms, billed = _by_batch(profile, percentile, min(placement.max_batch, LARGEST_BATCH))
    return Option(
        placement,
        catalogue.tiers[placement.tier],
        catalogue.variants[placement.variant].accuracy.value,
        ms,
        billed,
        profile.load.ms[LEVELS.index(0.5)],
        profile.init.ms[LEVELS.index(0.5)],
    )


@lru_cache(maxsize=4096)
def _by_batch(profile: Profile, percentile: float, most: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Between measured sizes times lie on a line (INFaaS fits one, too); beyond the last they grow with the rows."""
    rows = [served.rows for served in profile.service]
    known = [float(np.interp(percentile / 100, LEVELS, served.latency.ms)) for served in profile.service]
    billed = [served.billed_ms for served in profile.service]
    sizes = np.arange(1, most + 1)
    beyond = np.maximum(1.0, sizes / rows[-1])
    return (
        tuple(np.maximum.accumulate(np.interp(sizes, rows, known) * beyond).tolist()),
        tuple((np.interp(sizes, rows, billed) * beyond).tolist()),
    )
