from __future__ import annotations

import pytest

from registry.errors import NotFound
from registry.model import Price
from scheduler.frontier import frontier


def test_survivors_and_who_dominates_whom(build, spec, tier, flat, ramp) -> None:
    """cpu costs a dollar a second; `fast` is twice as fast at three times the price."""
    dear = tier("fast", price=Price(usd_per_busy_s=3.0))
    catalogue = build(
        spec("large", accuracy=0.95, service={1: flat(40.0)}),
        spec("large", "fast", accuracy=0.95, service={1: flat(20.0)}),
        spec("medium", accuracy=0.90, service={1: flat(30.0)}),
        spec("poor", accuracy=0.85, service={1: flat(31.0)}),
        spec("worst", accuracy=0.70, service={1: flat(45.0)}),
        spec("small", accuracy=0.80, service={1: ramp(0.0, 10.0)}),
        spec("unknown", profiled=False),
        tiers=(tier("cpu"), dear),
    )
    found = {p.placement.id.removeprefix("t/").removesuffix(":1"): p for p in frontier("t", catalogue)}
    assert list(found) == ["small@cpu", "large@fast", "medium@cpu", "poor@cpu", "large@cpu", "worst@cpu"]
    assert {name: p.reason for name, p in found.items()} == {
        "small@cpu": "the fastest and cheapest",
        "large@fast": "the most accurate",
        "medium@cpu": "the most accurate of those within 30 ms and $0.03",
        "poor@cpu": "t/medium@cpu:1 is more accurate and faster and cheaper",
        "large@cpu": "the most accurate",
        "worst@cpu": "t/large@cpu:1 is more accurate and faster and cheaper",
    }
    assert found["poor@cpu"].dominated_by == ("t/medium@cpu:1",)
    assert found["worst@cpu"].dominated_by == ("t/large@cpu:1", "t/medium@cpu:1", "t/small@cpu:1")
    assert [name for name, p in found.items() if not p.dominated] == [
        "small@cpu",
        "large@fast",
        "medium@cpu",
        "large@cpu",
    ]
    small = found["small@cpu"]
    assert (small.accuracy, small.latency_ms, small.cost_usd) == (0.8, pytest.approx(9.5), pytest.approx(0.005))


def test_equals_do_not_dominate_each_other(build, spec) -> None:
    assert [p.dominated for p in frontier("t", build(spec("a"), spec("b")))] == [False, False]


def test_one_goal_better_and_none_worse_dominates(build, spec) -> None:
    found = frontier("t", build(spec("a", accuracy=0.8), spec("b", accuracy=0.9)))
    assert found[0].reason == "t/b@cpu:1 is more accurate, and no worse otherwise"


def test_a_frontier_is_made_once_per_snapshot(build, spec) -> None:
    catalogue = build(spec("a"))
    assert frontier("t", catalogue) is frontier("t", catalogue)


def test_nothing_measured_is_an_empty_frontier(build, spec) -> None:
    assert frontier("t", build(spec("a", profiled=False))) == ()


def test_an_unknown_task_is_not_found(build) -> None:
    with pytest.raises(NotFound):
        frontier("nobody", build())
