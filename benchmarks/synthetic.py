"""Random catalogues, requests and fleet histories for benchmarks and property tests; same seed, same values."""

from __future__ import annotations

from itertools import count
from random import Random

import numpy as np

from registry.catalogue import Catalogue
from registry.model import (
    LEVELS,
    ZERO,
    Accuracy,
    Objective,
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
    Variant,
)
from registry.prices import SMALL_SIZES, lambda_tiers, local_tiers
from scheduler import events
from scheduler.environments import State
from scheduler.fleet import Fleet
from scheduler.requests import Request

TASK = "synthetic"
SIZES = (1, 4, 16, 64)
"""Batch sizes of every profile."""


def catalogue(placements: int, seed: int = 0) -> Catalogue:
    """A catalogue of one task whose variants run on all local tiers and their like on Lambda with one or two threads.

    Slower variants are more accurate, with noise; service times are lognormal and grow with rows to the power of 0.7.
    """
    random = Random(seed)
    tiers = (*local_tiers(), *lambda_tiers(SMALL_SIZES))
    pairs = ((v, tier, threads) for v in count() for tier in tiers for threads in (1, 2))
    chosen = [next(pairs) for _ in range(placements)]
    variants = {v: _variant(v, random) for v, _, _ in chosen}
    placed = [(Placement(variants[v].id, tier.name, threads), tier, variants[v]) for v, tier, threads in chosen]
    task = Task(TASK, (TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1,)),), "accuracy")
    return (
        Catalogue.empty()
        .with_tasks(task)
        .with_tiers(*tiers)
        .with_variants(*variants.values())
        .with_placements(*(p for p, _, _ in placed))
        .with_profiles(*(_profile(p, tier, variant, random) for p, tier, variant in placed))
    )


def request(random: Random) -> Request:
    """A request with each hint or without it, of 1 to 80 rows: a few fit no placement, and some are infeasible."""
    slo = Slo(
        latency_ms=random.choice((None, random.lognormvariate(4.0, 1.0))),
        percentile=random.choice((50.0, 90.0, 95.0, 99.0, random.uniform(1.0, 99.9))),
        min_accuracy=random.choice((None, random.uniform(0.5, 1.0))),
        max_cost_usd=random.choice((None, random.lognormvariate(-11.0, 1.5))),
        objective=random.choice(tuple(Objective)),
    )
    rows = random.choice((1, 1, random.randint(1, 80)))
    return Request(TASK, slo, rows, elapsed_ms=random.choice((0.0, random.expovariate(1.0))))


def event(fleet: Fleet, random: Random, now: float, serial: int) -> events.Event:
    """A random event that may legally happen to the fleet now; `serial` names what is new, and never repeats."""
    number = random.randrange(len(fleet.layout.tiers))
    kind = random.choices((_environment, _request, _trouble), (6, 6, 1))[0]
    return kind(fleet, number, random, now, serial)


def outcome(fleet: Fleet, random: Random, now: float) -> events.Measured:
    """A random placement's answer, up to three times as fast or slow as profiled, by its name and tier."""
    placement = random.choice([p for p in fleet.layout.placements if p.id in fleet.layout.catalogue.profiles])
    tempo = Random(placement.tier).uniform(0.5, 2.0) * Random(placement.id).uniform(0.7, 1.5)
    served = random.choice(fleet.layout.catalogue.profiles[placement.id].service)
    predicted = served.latency.ms
    service_ms = random.choice(predicted) * tempo
    return events.Measured(
        placement=placement.id,
        rows=served.rows,
        latency_ms=service_ms + random.choice((0.0, random.expovariate(0.1))),
        predicted_ms=predicted,
        service_ms=random.choice((None, service_ms, service_ms)),
        now=now,
    )


def lived(fleet: Fleet, outcomes: int, random: Random, now: float) -> tuple[Fleet, float]:
    """The fleet after so many random answers, ten a second, and the time (s) of the last."""
    for _ in range(outcomes):
        now += random.expovariate(10.0)
        fleet = fleet.apply(outcome(fleet, random, now))
    return fleet, now


def after(fleet: Fleet, steps: int, random: Random) -> tuple[Fleet, float]:
    """The fleet after so many random events, ten a second, and the time (s) of the last."""
    now = 0.0
    for serial in range(steps):
        now += random.expovariate(10.0)
        fleet = fleet.apply(event(fleet, random, now, serial))
    return fleet, now


def _variant(number: int, random: Random) -> Variant:
    value = random.uniform(0.6, 0.99)
    accuracy = Accuracy(value, value - 0.01, value + 0.01, 1000, "wilson")
    return Variant(TASK, f"v{number}", f"blake3:{number:064x}", Recipe("synthetic"), accuracy)


def _profile(placement: Placement, tier: Tier, variant: Variant, random: Random) -> Profile:
    scale = random.lognormvariate(2.0 + 2.0 * variant.accuracy.value, 0.5) / tier.vcpus
    service = []
    for rows in SIZES:
        latency = _lognormal(scale * rows**0.7, random)
        service.append(ServiceTime(rows, latency, latency.mean))
    always = tier.start_mode is StartMode.ALWAYS
    init = ZERO if always else _lognormal(5.0 if tier.start_mode is StartMode.SNAPSTART else 120.0, random)
    return Profile(
        placement=placement.id,
        service=tuple(service),
        load=_lognormal(scale / 2, random),
        init=init,
        memory_mb=10.0,
        fingerprint="synthetic",
        cpu_share="none",
        samples=500,
        measured_at="2025-01-01T00:00:00Z",
    )


def _lognormal(scale: float, random: Random) -> Quantiles:
    drawn = np.random.default_rng(random.getrandbits(32)).lognormal(np.log(scale), 0.3, 500)
    return Quantiles(tuple(np.quantile(drawn, LEVELS).tolist()), float(drawn.mean()))


def _environment(fleet: Fleet, number: int, random: Random, now: float, serial: int) -> events.Event:
    """What may happen to an environment of a tier: a random one that runs, or a new one while there is room."""
    tier, state = fleet.layout.tiers[number].name, fleet.tiers[number]
    room = len(state.environments) * state.slots < state.capacity
    if not state.environments or (room and random.random() < 0.3):
        return events.EnvironmentStarting(tier, f"e{serial}", now)
    name, environment = random.choice(list(state.environments.items()))
    if random.random() < 0.05:
        return events.EnvironmentGone(tier, name, "expired", now)
    if environment.state is State.STARTING or not environment.free or random.random() < 0.3:
        known = list(fleet.layout.catalogue.variants)
        resident = random.sample(known, min(len(known), random.randint(0, 4)))
        return events.EnvironmentReady(tier, name, tuple(resident), now)
    return events.EnvironmentBusy(tier, name, now)


def _request(fleet: Fleet, number: int, random: Random, now: float, serial: int) -> events.Event:
    """A request is queued on a tier, or one of its requests finishes; about as many wait as the tier has slots."""
    state, known = fleet.tiers[number], fleet.layout.of_tier.get(number, ())
    tickets = list(state.outstanding)
    if len(known) == 0 or (tickets and random.random() < len(tickets) / (2 * min(state.capacity, 8))):
        return _finished(tickets, random, now) if tickets else _trouble(fleet, number, random, now, serial)
    placement = fleet.layout.placements[random.choice(known)].id
    return events.Queued(placement, f"r{serial}", random.expovariate(0.05), now)


def _finished(tickets: list[tuple[str, str]], random: Random, now: float) -> events.Event:
    placement, request_id = random.choice(tickets)
    return events.Finished(placement, request_id, 10.0, True, now)


def _trouble(fleet: Fleet, number: int, random: Random, now: float, serial: int) -> events.Event:
    """A tier or placement refuses for a while, or a variant is quarantined or cleared."""
    del serial
    if fleet.quarantined and random.random() < 0.5:
        return events.VariantCleared(random.choice(sorted(fleet.quarantined)), now)
    placement = random.choice(fleet.layout.placements)
    return random.choice(
        (
            events.TierUnavailable(fleet.layout.tiers[number].name, "throttled", now + random.expovariate(2.0), now),
            events.PlacementFailed(placement.id, "failed", now + random.expovariate(1.0), now),
            events.VariantQuarantined(placement.variant, "digest mismatch", now),
        )
    )
