"""The platform's planned residency as a keep-alive policy: applications live together in shared environments.

Every minute `scheduler.capacity.plan` says which environments to have and what lives in each, from the forecasts of
`scheduler.recurrence`. An environment is one function of MEMORY_MB, which is a shard of its own, and what lives in it
takes its memory; so a minute of warmth is paid for by the environment, and not by the application.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from registry.catalogue import Catalogue
from registry.model import (
    LEVELS,
    Accuracy,
    Placement,
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
from registry.prices import lambda_price, vcpus_of
from scheduler.capacity import Demand, plan
from scheduler.events import EnvironmentGone, EnvironmentReady
from scheduler.fleet import Fleet
from scheduler.keeping import MEMORY_SHARE
from scheduler.recurrence import Recurrence
from scheduler.requests import Request
from simulator.keepalive.cost import MEMORY_MB
from simulator.keepalive.policy import EventDriven, MinuteDriven, Plans, during_next
from simulator.keepalive.trace import Trace

MINUTE_S = 60.0

DEADLINE_MS = 100.0
"""Any between an answer and a start; a request takes next to no time, and a start is late."""

SPARE = 2
"""Environments beyond those that hold all applications at once: packing leaves gaps."""


class PlannedResidency(MinuteDriven):
    """Keeps warm what the plan has resident, and counts the minutes of environments that this takes."""

    def __init__(self, sizes_mb: Mapping[str, float], ratio: float, start_s: float) -> None:
        """`sizes_mb` are the applications' memories, all that may be asked for.

        `ratio` is the price of an environment's minute over what a cold start costs; a start lasts `start_s`. Raises
        ValueError for an application that no environment has room for.
        """
        room = MEMORY_MB * MEMORY_SHARE
        too_large = [name for name, size in sizes_mb.items() if size > room]
        if too_large:
            raise ValueError(f"application {too_large[0]} takes {sizes_mb[too_large[0]]:.0f} MB, of {room:.0f} MB")
        shards = math.ceil(sum(sizes_mb.values()) / room) + SPARE
        self._catalogue = _catalogue(sizes_mb, shards, start_s)
        self._fleet = Fleet.empty(self._catalogue)
        price = lambda_price(MEMORY_MB, start_mode=StartMode.PROVISIONED)
        self._worth_usd = price.usd_per_idle_s * MINUTE_S / ratio
        self._recurrence = Recurrence()
        self._requests = {name: Request(name, Slo(latency_ms=DEADLINE_MS)) for name in sizes_mb}
        self.environment_minutes = 0.0
        """Minutes of all environments, summed."""
        self._warm: frozenset[str] = frozenset()
        """What was planned for this minute."""
        self.starts = 0
        """Environments that were started for what they were to hold."""
        self.loads = 0
        """Applications that were loaded ahead into an environment."""

    def asked(self, application: str, now: float) -> Plans:
        """Keep it for the rest of the minute; what was not planned is counted as if it had an environment for that."""
        if application not in self._warm:
            self.environment_minutes += math.ceil(now) - now
        return super().asked(application, now)

    def closed(self, minute: int, active: Collection[str]) -> Plans:
        """Forecast, plan, and have what is planned in the next minute."""
        self._recurrence.close(minute, sorted(active))
        demands = [Demand(name, p, 0.0, self._requests[name]) for name, p in self._recurrence.all_ahead().items()]
        now = minute * MINUTE_S
        found = plan(self._catalogue, self._fleet, demands, now, period_s=MINUTE_S, worth_usd=self._worth_usd)
        placements = self._catalogue.placements
        resident = {tier: [placements[id_].variant for id_ in ids] for tier, ids in found.residency.items()}
        for tier in self._catalogue.tiers:
            self._move(tier, resident.get(tier, []), now)
        self.environment_minutes += len(resident)
        self._warm = frozenset(variant.partition("/")[0] for held in resident.values() for variant in held)
        return during_next(minute, sorted(self._warm))

    def _move(self, tier: str, resident: list[str], now: float) -> None:
        """Have a shard's environment hold this, or end it where that is nothing."""
        environment = self._fleet.tier(tier).environments.get(tier)
        if resident:
            self.starts += environment is None
            self.loads += len(set(resident) - set(environment.resident if environment else ()))
            self._fleet = self._fleet.apply(EnvironmentReady(tier, tier, tuple(resident), now))
        elif environment is not None:
            self._fleet = self._fleet.apply(EnvironmentGone(tier, tier, "nothing is planned", now))


class Packed(EventDriven):
    """Everything that was ever asked for is resident in environments that are shared and never go."""

    def __init__(self, trace: Trace, sizes_mb: Mapping[str, float]) -> None:
        """Packed first fit, the largest first (Johnson 1973)."""
        self._end = trace.end
        left: list[float] = []
        for size in sorted((sizes_mb[name] for name in trace.applications), reverse=True):
            place = next((i for i, room in enumerate(left) if size <= room), None)
            if place is None:
                left.append(MEMORY_MB * MEMORY_SHARE - size)
            else:
                left[place] -= size
        self.starts, self.loads = len(left), 0
        """Of environments, and ahead into them, as of PlannedResidency."""
        self.environment_minutes = len(left) * trace.end

    def asked(self, application: str, now: float) -> Plans:
        """Warm for good."""
        return {application: ((now, self._end),)}


def _catalogue(sizes_mb: Mapping[str, float], shards: int, start_s: float) -> Catalogue:
    """Each application as a task of one variant, which may be placed on any shard."""
    signature = (TensorSpec("x", "FP32", (-1,)),), (TensorSpec("y", "FP32", (-1,)),)
    price = lambda_price(MEMORY_MB, start_mode=StartMode.PROVISIONED)
    vcpus = vcpus_of(MEMORY_MB)
    tiers = [
        Tier(f"shard-{i:03d}", TierKind.LAMBDA, vcpus, MEMORY_MB, 1, StartMode.PROVISIONED, price)
        for i in range(shards)
    ]
    right = Accuracy(1.0, 1.0, 1.0, 1, "wilson")
    tasks = [Task(name, *signature, "accuracy") for name in sizes_mb]
    variants = [Variant(name, "only", f"blake3:{name}", Recipe("trace"), right) for name in sizes_mb]
    placements = [Placement(variant.id, tier.name) for variant in variants for tier in tiers]
    service = (ServiceTime(1, _always(1.0), 1.0),)
    profiles = [
        Profile(
            p.id, service, _always(start_s * 1000), _always(0.0), sizes_mb[p.task], "trace", "none", 1, "2019-07-15"
        )
        for p in placements
    ]
    return (
        Catalogue.empty()
        .with_tasks(*tasks)
        .with_tiers(*tiers)
        .with_variants(*variants)
        .with_placements(*placements)
        .with_profiles(*profiles)
    )


def _always(ms: float) -> Quantiles:
    return Quantiles((ms,) * len(LEVELS), ms)
