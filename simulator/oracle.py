"""What nobody can gain more than: a bound on the utility of any policy over given arrivals; it simulates nothing.

The oracle maximises `utility`: for each right answer in time its value, less all dollars. It answers every request from
the placement that gains most, as if that were warm, idle and loaded at that moment for nothing, as if every run took
the shortest time that its profile has (no simulated run is shorter), in the batch whose part for this request is
cheapest, without anybody having to wait for it to fill, with no second of anything paid for that does not run. A
request that is worth less than that is refused, which costs nothing. Every policy that answers a request from one
variant pays at least as much for it, and is right in time at most as often, so that none can beat the sum.

What it does not bound is a vote of several variants (`cocktail`), whose accuracy rests on an assumption of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from registry.catalogue import Catalogue
from registry.model import SHARED, Placement, Slo, StartMode, Tier
from registry.prices import lambda_price
from scheduler.table import table_of
from simulator.policies.options import CONTAINERS, FUNCTIONS
from simulator.simulation import Stream
from simulator.utility import VALUE_USD, utility


@dataclass(frozen=True, slots=True)
class Bound:
    """The oracle's result over all requests."""

    requests: int
    timely: int
    """Requests that it answers."""
    right: float
    """Expected right answers."""
    usd: float
    utility: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The best that one request can meet: an accuracy (0: a refusal) and its dollars."""

    accuracy: float = 0.0
    usd: float = 0.0


def bound(
    catalogue: Catalogue,
    streams: Sequence[Stream],
    *,
    seconds: float,
    value_usd: float = VALUE_USD,
    overhead_ms: float = 0.0,
) -> Bound:
    """The oracle over the arrivals before `seconds`; `overhead_ms` is what the platform adds to every answer."""
    timely = requests = 0
    right = usd = 0.0
    for stream in streams:
        count = int(np.searchsorted(stream.times, seconds))
        answer = best(catalogue, stream.task, stream.slo, stream.rows, value_usd=value_usd, overhead_ms=overhead_ms)
        requests += count
        timely += count if answer.accuracy > 0 else 0
        right += count * answer.accuracy
        usd += count * answer.usd
    return Bound(requests, timely, right, usd, utility(right, usd, value_usd))


def best(
    catalogue: Catalogue, task: str, slo: Slo, rows: int, *, value_usd: float = VALUE_USD, overhead_ms: float = 0.0
) -> Answer:
    """The most useful answer to a request of so many rows."""
    found = Answer()
    for placement in catalogue.placements_of(task):
        if placement.id not in catalogue.profiles:
            continue
        least_ms = shortest_ms(catalogue, placement, rows) + overhead_ms
        if slo.latency_ms is not None and least_ms > slo.latency_ms:
            continue
        accuracy = catalogue.variants[placement.variant].accuracy.value
        answer = Answer(accuracy, least_usd(catalogue, placement, rows))
        if _gain(answer, value_usd) > _gain(found, value_usd):
            found = answer
    return found


def shortest_ms(catalogue: Catalogue, placement: Placement, rows: int) -> float:
    """No run of at least so many rows is shorter."""
    return min(_run_ms(catalogue, placement, size) for size in _sizes(catalogue, placement, rows))


def least_usd(catalogue: Catalogue, placement: Placement, rows: int) -> float:
    """No request of so many rows is cheaper: its part of a run of any size, of the shortest duration that is billed.

    Between two measured sizes time is linear in rows, so that the cheapest part is at one of them.
    """
    profile, tier = catalogue.profiles[placement.id], catalogue.tiers[placement.tier]
    billed = min((min(1.0, s.billed_ms / s.latency.mean) for s in profile.service if s.latency.mean > 0), default=1.0)
    per_ms = second_usd(tier) / 1000 * billed
    return min(
        (tier.price.usd_per_request + _run_ms(catalogue, placement, size) * per_ms) * rows / size
        for size in _sizes(catalogue, placement, rows)
    )


def second_usd(tier: Tier) -> float:
    """The least that a second of one run costs: of a copy all slots are in use, and so is provisioned concurrency."""
    if tier.kind in CONTAINERS:
        return tier.price.usd_per_idle_s / (tier.concurrency if tier.kind in SHARED else 1)
    if tier.kind in FUNCTIONS:
        provisioned = lambda_price(tier.memory_mb, start_mode=StartMode.PROVISIONED)
        return min(tier.price.usd_per_busy_s, provisioned.usd_per_busy_s + provisioned.usd_per_idle_s)
    return tier.price.usd_per_busy_s


def _gain(answer: Answer, value_usd: float) -> float:
    return utility(answer.accuracy, answer.usd, value_usd)


def _sizes(catalogue: Catalogue, placement: Placement, rows: int) -> list[int]:
    measured = [served.rows for served in catalogue.profiles[placement.id].service]
    return sorted({rows, *(size for size in (*measured, placement.max_batch) if size > rows)})


def _run_ms(catalogue: Catalogue, placement: Placement, rows: int) -> float:
    """The first level of what the simulation draws from (`simulator.times`); no draw is below it."""
    table = table_of(catalogue, placement.task)
    return float(table.batch(rows).grid[0, table.layout.number[placement.id] - table.span.start])
