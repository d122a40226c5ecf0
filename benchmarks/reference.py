"""The scheduler's rules once more, one placement at a time in plain Python; an oracle to compare with, never product.

It shares no arithmetic with `scheduler/` but what `registry/` offers: it reads profiles, and the readable state of each
tier of the fleet, and what is believed of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from statistics import NormalDist

from registry.catalogue import Catalogue
from registry.model import LEVELS, Objective, Placement, Profile
from registry.prices import invocation_cost
from scheduler.environments import State
from scheduler.fleet import Fleet
from scheduler.requests import Request
from scheduler.tier_state import TierState

Times = list[float]
"""Milliseconds at each of LEVELS."""

MEDIAN = LEVELS.index(0.5)

Z: Times = [NormalDist().inv_cdf(level) for level in LEVELS]


@dataclass(frozen=True)
class Expected:
    """What the oracle expects of one runnable placement."""

    id: str
    excess: float
    value: float
    """What the objective minimises."""
    cost_usd: float
    latency_ms: float
    cold: bool
    load: bool


def rank(request: Request, catalogue: Catalogue, fleet: Fleet, now: float) -> list[Expected]:
    """The runnable placements, best first."""
    found = [
        _expect(request, catalogue, fleet, now, placement)
        for placement in catalogue.placements_of(request.task)
        if _runnable(request, catalogue, fleet, now, placement)
    ]
    return sorted(found, key=lambda e: (e.excess, e.value, e.cost_usd, e.latency_ms, e.id))


def _runnable(request: Request, catalogue: Catalogue, fleet: Fleet, now: float, placement: Placement) -> bool:
    failing = fleet.failing.get(placement.id)
    return (
        placement.id in catalogue.profiles
        and request.rows <= placement.max_batch
        and placement.variant not in fleet.quarantined
        and (failing is None or failing.until <= now)
        and fleet.tier(placement.tier).unavailable_until <= now
    )


def _expect(request: Request, catalogue: Catalogue, fleet: Fleet, now: float, placement: Placement) -> Expected:
    profile, slo = catalogue.profiles[placement.id], request.slo
    accuracy = catalogue.variants[placement.variant].accuracy.value
    cold, load, queued = _start(fleet.tier(placement.tier), placement.variant, now)
    slower, margins = _believed(fleet, placement, now)
    scores = [z + margin for z, margin in zip(Z, margins, strict=True)]
    finish, service = (_finish(profile, request.rows, *start) for start in ((cold, load), (False, False)))
    finish = [ms * (1.0 + slower * min(1.0, service[MEDIAN] / finish[MEDIAN])) for ms in finish]
    mean, stretch = _wait(finish, fleet.tier(placement.tier)) if queued else (0.0, 0.0)

    def at(score: float) -> float:
        ms = _scored(finish, score)
        return max(ms, ms + mean + score * stretch)

    times = [at(score) for score in scores]
    latency = _quantile(times, min(slo.percentile / 100, LEVELS[-1])) + request.elapsed_ms
    billed = _line([s.rows for s in profile.service], [s.billed_ms for s in profile.service], request.rows)
    billed *= 1.0 + slower
    cost = invocation_cost(
        catalogue.tiers[placement.tier].price,
        billed + (profile.load.mean if load else 0.0),
        cold=cold,
        init_ms=profile.init.mean,
    )
    on_time = 1.0 if slo.latency_ms is None else _probability(times, slo.latency_ms - request.elapsed_ms)
    excess = 0.0
    if slo.latency_ms is not None:
        excess += max(0.0, latency - slo.latency_ms) / slo.latency_ms
    if slo.min_accuracy is not None:
        excess += max(0.0, slo.min_accuracy - accuracy) / max(slo.min_accuracy, 1e-9)
    if slo.max_cost_usd is not None:
        excess += max(0.0, cost - slo.max_cost_usd) / max(slo.max_cost_usd, 1e-9)
    value = {Objective.COST: cost, Objective.LATENCY: latency, Objective.ACCURACY: -on_time * accuracy}[slo.objective]
    return Expected(placement.id, excess, value, cost, latency, cold, load)


def _start(tier: TierState, variant: str, now: float) -> tuple[bool, bool, bool]:
    """Whether the run is cold, loads the variant, and waits for a slot."""
    environments = tier.environments.values()
    ready = [e for e in environments if e.state is not State.STARTING]
    free = [e for e in ready if e.running < e.slots]
    starting = tier.slots * (len(environments) - len(ready))
    running = sum(e.running for e in environments)
    slots = sorted(
        (_expiry(tier, e.running, e.used_at) for e in free for _ in range(e.slots - e.running)), reverse=True
    )
    ahead = max(0, len(tier.outstanding) - running - starting)
    if ahead < len(slots) and slots[ahead] > now:
        held = any(variant in e.resident and _expiry(tier, e.running, e.used_at) > now for e in free)
        return False, not held, False
    if max(running + starting, len(tier.outstanding)) < tier.capacity:
        return True, True, False
    everywhere = bool(ready) and all(variant in e.resident for e in ready)
    return False, not everywhere or ahead < len(slots), True


def _expiry(tier: TierState, running: int, used_at: float) -> float:
    return math.inf if running else used_at + tier.idle_timeout_s


def _finish(profile: Profile, rows: int, cold: bool, load: bool) -> Times:
    sizes, sums = _sums(profile, cold, load)
    line = [_line(sizes, [times[i] for times in sums], rows) for i in range(len(LEVELS))]
    return [max(line[: i + 1]) for i in range(len(line))]


@lru_cache(maxsize=1000)
def _sums(profile: Profile, cold: bool, load: bool) -> tuple[list[int], list[Times]]:
    """The finish times at each measured size."""
    before = list(profile.load.ms) if load else [0.0] * len(LEVELS)
    if cold:
        before = _sum(list(profile.init.ms), before)
    sizes = [s.rows for s in profile.service]
    measured = [list(s.latency.ms) for s in profile.service]
    if len(sizes) == 1:
        sizes, measured = [sizes[0], 2 * sizes[0]], [measured[0], [2 * ms for ms in measured[0]]]
    return sizes, [_sum(times, before) for times in measured]


def _line(sizes: Sequence[int], values: Sequence[float], rows: int) -> float:
    if len(sizes) == 1:
        sizes, values = [sizes[0], 2 * sizes[0]], [values[0], 2 * values[0]]
    if rows <= sizes[0]:
        return values[0]
    for i in range(1, len(sizes)):
        if rows <= sizes[i] or i == len(sizes) - 1:
            slope = (values[i] - values[i - 1]) / (sizes[i] - sizes[i - 1])
            found = values[i - 1] + slope * (rows - sizes[i - 1])
            return max(found, values[i]) if rows > sizes[i] else found
    raise AssertionError("there are two sizes or more")


def _atoms(times: Times) -> list[tuple[float, float]]:
    """Probability and milliseconds of each atom of a distribution."""
    edges = [0.0, *LEVELS, 1.0]
    atoms = []
    for low, high in pairwise(edges):
        parts = math.ceil((high - low) / 0.125 - 1e-9)
        width = (high - low) / parts
        atoms += [(width, _quantile(times, low + (i + 0.5) * width)) for i in range(parts)]
    return atoms


def _sum(a: Times, b: Times) -> Times:
    if a[0] == a[-1] or b[0] == b[-1]:
        return [x + y for x, y in zip(a, b, strict=True)]
    pairs = sorted((x + y, p * q) for p, x in _atoms(a) for q, y in _atoms(b))
    points, before = [], 0.0
    for value, weight in pairs:
        points.append((before + weight / 2, value))
        before += weight
    return [_read(points, level) for level in LEVELS]


def _read(points: Sequence[tuple[float, float]], level: float) -> float:
    for (x0, y0), (x1, y1) in pairwise(points):
        if level <= x1:
            return y0 + (y1 - y0) * max(0.0, (level - x0) / (x1 - x0))
    return points[-1][1]


def _quantile(times: Times, level: float) -> float:
    """The quantile function: linear between levels, flat outside of them."""
    if level <= LEVELS[0]:
        return times[0]
    return _read(list(zip(LEVELS, times, strict=True)), level)


def _probability(times: Times, within_ms: float) -> float:
    if within_ms < times[0]:
        return 0.0
    if within_ms >= times[-1]:
        return LEVELS[-1]
    high = next(i for i, ms in enumerate(times) if ms > within_ms)
    share = (within_ms - times[high - 1]) / (times[high] - times[high - 1])
    return LEVELS[high - 1] + (LEVELS[high] - LEVELS[high - 1]) * share


def _wait(times: Times, tier: TierState) -> tuple[float, float]:
    """Mean of the wait, and by how much it widens the spread of these times."""
    mean, variance = tier.wait
    atoms = _atoms(times)
    centre = sum(p * ms for p, ms in atoms)
    deviation = math.sqrt(sum(p * (ms - centre) ** 2 for p, ms in atoms))
    return mean, math.sqrt(deviation**2 + variance) - deviation


def _believed(fleet: Fleet, placement: Placement, now: float) -> tuple[float, Times]:
    """By how many times its service the placement takes longer, and its task's margins on its tier."""
    if fleet.columns.live is None:
        return 0.0, [0.0] * len(LEVELS)
    live = fleet.columns.live
    tier = fleet.beliefs[fleet.layout.tier_number[placement.tier]]
    pace = tier.paces.get(placement.id, tier.shared)
    slower = math.exp(pace.log * _left(pace.at, live.as_of, now)) - 1.0
    moved = tier.moved.get(placement.task)
    if moved is None:
        return slower, [0.0] * len(LEVELS)
    left = _left(moved.at, live.levels[placement.task].as_of, now)
    return slower, [margin * left for margin in moved.margins]


def _left(at: float, as_of: float, now: float) -> float:
    """What is left of a belief that is read as it was at a time, unless that is three seconds ago."""
    return math.exp(min(at - (as_of if now - as_of <= 3.0 else now), 0.0) / 300.0)


def _scored(times: Times, score: float) -> float:
    """The quantile at a normal score: linear in the score between those of LEVELS, and a lognormal's tails outside."""
    inner = times[0] if score <= Z[0] else _read(list(zip(Z, times, strict=True)), min(score, Z[-1]))
    return inner * math.exp(0.5 * (max(score - Z[-1], 0.0) + min(score - Z[0], 0.0)))
