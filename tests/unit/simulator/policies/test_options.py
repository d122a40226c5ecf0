"""What a profile promises a planner."""

from __future__ import annotations

from typing import Any

import pytest

from registry.model import Slo
from simulator.policies.options import CONTAINERS, FUNCTIONS, feasible, most_accurate, options


def test_times_between_measured_sizes_lie_on_a_line(build: Any) -> None:
    (option,) = options(build({"a": (0.9, {1: 10.0, 3: 30.0})}, "box"), "t", 95.0, CONTAINERS)

    assert option.ms == (10.0, 20.0, 30.0)
    assert option.throughput(2) == 100.0


def test_the_largest_batch_within_a_limit(build: Any) -> None:
    (option,) = options(build({"a": (0.9, {1: 10.0, 3: 30.0})}, "box"), "t", 95.0, CONTAINERS)

    assert [option.largest(limit) for limit in (9.0, 10.0, 29.0, 99.0)] == [0, 1, 2, 3]


def test_a_run_costs_what_its_tier_bills(build: Any) -> None:
    (option,) = options(build({"a": (0.9, {1: 10.0})}, "small"), "t", 95.0, FUNCTIONS)

    assert option.usd(1) == pytest.approx(0.0001 + 0.010 * 0.01)


def test_all_three_bounds_bind(build: Any) -> None:
    catalogue = build({"slow": (0.9, {1: 90.0}), "poor": (0.5, {1: 10.0}), "good": (0.8, {1: 20.0})}, "small")
    found = options(catalogue, "t", 95.0, FUNCTIONS)

    held = feasible(found, Slo(latency_ms=50.0, min_accuracy=0.6))

    assert [option.placement.variant for option in held] == ["t/good"]
    assert feasible(found, Slo(max_cost_usd=0.0001)) == []
    assert most_accurate(found).placement.variant == "t/slow"
