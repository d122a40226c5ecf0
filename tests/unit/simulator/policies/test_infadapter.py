"""InfAdapter: its objective on programs small enough to enumerate."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from registry.model import Slo
from simulator.policies.infadapter import ALPHA, BETA, Capacity, InfAdapter, capacity, solve
from simulator.policies.options import CONTAINERS, options
from simulator.policy import Invoke

MODELS = {
    "fast": (0.6, {1: 50.0}, {}, 100.0),
    "mid": (0.8, {1: 100.0}, {}, 200.0),
    "slow": (0.9, {1: 500.0}, {}, 400.0),
}


@pytest.fixture
def lines(build: Any) -> list[Capacity]:
    found = options(build(MODELS, "box"), "t", 95.0, CONTAINERS)
    return [Capacity(option, 900 / option.ms[0], -1.0) for option in found]


def best(lines: list[Capacity], load: float, most: int, before: dict[str, int]) -> float:
    """The objective of the best assignment, by trying all."""
    found = []
    for units in product(range(most + 1), repeat=len(lines)):
        if sum(units) > most:
            continue
        left, accuracy, loading = load, 0.0, 0.0
        for (option, slope, base), n in reversed(list(zip(lines, units, strict=True))):
            rate = min(left, slope * n + base) if n else 0.0
            left, accuracy = left - rate, accuracy + rate * option.accuracy / load
            if n != before.get(option.id, 0):
                loading = max(loading, option.load_ms / 400.0)
        found.append(accuracy - ALPHA * sum(units) / most - BETA * loading - left / load)
    return max(found)


@pytest.mark.parametrize("load", [0.5, 3.0, 9.0, 20.0, 70.0])
@pytest.mark.parametrize("before", [{}, {"mid": 2}, {"slow": 4, "fast": 1}])
def test_the_program_finds_what_enumeration_finds(lines: list[Capacity], load: float, before: dict[str, int]) -> None:
    had = {each.option.id: before.get(each.option.placement.variant[2:], 0) for each in lines}

    parts = {part.option.id: part for part in solve(lines, load, 6, had)}

    units = {each.option.id: parts[each.option.id].units if each.option.id in parts else 0 for each in lines}
    served = sum(part.rate for part in parts.values())
    accuracy = sum(part.rate * part.option.accuracy for part in parts.values()) / load
    changed = [each.option.load_ms / 400.0 for each in lines if units[each.option.id] != had[each.option.id]]
    objective = accuracy - ALPHA * sum(units.values()) / 6 - BETA * max(changed, default=0.0) - (load - served) / load
    assert objective == pytest.approx(best(lines, load, 6, had), abs=1e-6)


def test_a_capacity_is_less_than_the_peak_and_nothing_where_the_bound_is_missed(build: Any) -> None:
    catalogue = build(MODELS, "box")
    found = {o.placement.variant: o for o in options(catalogue, "t", 95.0, CONTAINERS)}
    mid = found["t/mid"]

    line = capacity(mid, catalogue.profiles[mid.id], Slo(latency_ms=300.0))

    carried = [line.slope * units + line.base for units in (1, 2, 4, 8)]
    assert all(0 < rate < units * mid.throughput(1) for rate, units in zip(carried, (1, 2, 4, 8), strict=True))
    assert capacity(mid, catalogue.profiles[mid.id], Slo(latency_ms=99.0)).slope == 0.0


def test_it_plans_for_the_last_minute_s_largest_second(build: Any, ask: Any) -> None:
    policy = InfAdapter(build(MODELS, "box"), copies=4)
    policy.tick(0.0)
    job = ask(59.0)
    assert isinstance(list(policy.arrive(job, 59.0))[-1], Invoke), "one request a second is always planned with"
    before = sum(lane.units for lane in policy.lanes_of("t"))

    for _ in range(30):
        policy.arrive(ask(59.0), 59.0)
    policy.tick(59.5)
    assert sum(lane.units for lane in policy.lanes_of("t")) == before
    policy.tick(60.0)

    carried = sum(lane.units * lane.option.throughput(1) for lane in policy.lanes_of("t"))
    assert carried >= 31
