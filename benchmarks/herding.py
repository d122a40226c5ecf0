"""How many requests are refused where schedulers that see only themselves share tiers that are alike, spread or not.

SCHEDULERS of them send what keeps two thirds of TIERS busy, on a virtual clock. A tier runs SLOTS requests at once and
refuses more, as reserved concurrency does; who was refused stays away from it for THROTTLED_S, as the gateway has it,
and asks the next of its ranking. `refused` is refusals for each request, the median over seeds with its 95 % interval.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from random import Random

from benchmarks import scale
from benchmarks.harness import Row, interval, run
from gateway.backends.aws import THROTTLED_S
from registry.catalogue import Catalogue
from registry.model import Slo, StartMode, Tier, TierKind
from registry.prices import lambda_price
from scheduler.choose import choose
from scheduler.events import EnvironmentReady, EnvironmentStarting, TierUnavailable
from scheduler.fleet import Fleet
from scheduler.requests import Request

TIERS, SLOTS, SCHEDULERS = 4, 15, 40

BUSY_S = 0.05
"""What a request takes on average, from half of it to half as much again."""

SECONDS = 6.0
SEEDS = 10


def rows(quick: bool) -> Sequence[Row]:
    """Without spreading, and with it, over the same seeds."""
    facts = catalogue()
    measured = []
    for spreading in (False, True):
        refused = [refusals(facts, spreading, seed) for seed in range(2 if quick else SEEDS)]
        median, low, high = interval(refused)
        measured.append(
            {
                "spreading": spreading,
                "tiers": TIERS,
                "schedulers": SCHEDULERS,
                "refused": median,
                "refused_low": low,
                "refused_high": high,
                "seeds": len(refused),
            }
        )
    return measured


def catalogue() -> Catalogue:
    """One task on tiers that differ in name alone."""
    return scale.catalogue(1, [_tier(number) for number in range(TIERS)], {"only": (0.9, 1000 * BUSY_S)})


def _tier(number: int) -> Tier:
    price = lambda_price(1769, start_mode=StartMode.PROVISIONED)
    return Tier(f"alike-{number}", TierKind.LAMBDA, 1.0, 1769, 1000, StartMode.PROVISIONED, price)


def refusals(facts: Catalogue, spreading: bool, seed: int, seconds: float = SECONDS) -> float:
    """Refusals for each request."""
    random = Random(seed)
    fleets = [_warm(facts) for _ in range(SCHEDULERS)]
    (task,) = facts.tasks
    running: Counter[str] = Counter()
    agenda = [(random.random() * BUSY_S, scheduler, "") for scheduler in range(SCHEDULERS)]
    heapify(agenda)
    asked = refused = 0
    while agenda[0][0] < seconds:
        now, scheduler, ended = heappop(agenda)
        running[ended] -= 1
        asked += 1
        request = Request(task, Slo(), uniform=random.random() if spreading else None)
        fleet = fleets[scheduler]
        for estimate in choose(request, facts, fleet, now).ranked:
            tier = estimate.placement.tier
            if running[tier] < SLOTS:
                running[tier] += 1
                heappush(agenda, (now + BUSY_S * (0.5 + random.random()), scheduler, tier))
                break
            refused += 1
            fleet = fleet.apply(TierUnavailable(tier, "full", now + THROTTLED_S, now))
        else:
            heappush(agenda, (now + THROTTLED_S, scheduler, ""))
        fleets[scheduler] = fleet
    return refused / asked


def _warm(facts: Catalogue) -> Fleet:
    """An environment on each tier, which holds all there is."""
    fleet = Fleet.empty(facts)
    for tier in facts.tiers:
        fleet = fleet.apply(EnvironmentStarting(tier, f"{tier}-1", 0.0))
        fleet = fleet.apply(EnvironmentReady(tier, f"{tier}-1", tuple(facts.variants), 0.0))
    return fleet


if __name__ == "__main__":
    raise SystemExit(run("herding", rows))
