from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from benchmarks import synthetic
from registry.errors import NotFound
from registry.model import Accuracy, Price
from scheduler.frontier import Start, frontier


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
        "medium@cpu": "the most accurate of those within 30 ms and $30000 per million",
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


def test_what_is_dominated_when_resident_may_be_the_best_from_a_cold_start(build, spec, flat) -> None:
    """As a variant that was compiled ahead of time: a little slower, and loaded in no time."""
    catalogue = build(
        spec("plain", service={1: flat(10.0)}, load=flat(90.0)),
        spec("compiled", service={1: flat(11.0)}, load=flat(3.0)),
    )
    resident = {p.placement.variant: p for p in frontier("t", catalogue)}
    assert (
        resident["t/compiled"].reason
        == "t/plain@cpu:1 is faster and cheaper, and no worse otherwise; this one loads 30× faster"
    )
    for start in (Start.LOAD, Start.COLD):
        found = {p.placement.variant: p for p in frontier("t", catalogue, start=start)}
        assert [name for name, p in found.items() if not p.dominated] == ["t/compiled"]
        assert found["t/compiled"].latency_ms == pytest.approx(14.0)
        assert found["t/plain"].reason.endswith("no worse otherwise")


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        (((0.0, 5.0), (30.0, 5.0)), "; this one needs no load"),
        (((10.0, 5.0), (11.0, 5.5)), ""),
        (((0.1, 0.1), (0.9, 0.9)), ""),
        (((10.0, 10.0), (25.0, 24.0)), "; this one loads 2.5× faster and takes 2.4× less memory"),
        (((10.0, 0.0), (10.0, 24.0)), "; this one takes no memory"),
    ],
)
def test_what_speaks_for_a_dominated_placement(
    build, spec, flat, figures: tuple[tuple[float, float], tuple[float, float]], said: str
) -> None:
    mine, rival = figures
    catalogue = build(spec("a", accuracy=0.8, load=flat(mine[0])), spec("b", load=flat(rival[0])))
    for name, (_, memory_mb) in (("t/a@cpu:1", mine), ("t/b@cpu:1", rival)):
        catalogue = catalogue.with_profiles(replace(catalogue.profiles[name], memory_mb=memory_mb))
    off = next(p for p in frontier("t", catalogue) if p.dominated)
    assert off.reason == f"t/b@cpu:1 is more accurate, and no worse otherwise{said}"
    assert (off.load_ms, off.memory_mb) == mine


def test_the_interval_comes_along(build, spec) -> None:
    catalogue = build(spec("a"))
    variant = catalogue.variants["t/a"]
    measured = Accuracy(0.9, 0.85, 0.94, 100, "wilson")
    (point,) = frontier("t", catalogue.with_variants(replace(variant, accuracy=measured)))
    assert (point.accuracy_low, point.accuracy_high) == (0.85, 0.94)


def test_a_batch_that_a_placement_does_not_take_is_not_its_race(build, spec, flat) -> None:
    service = {1: flat(10.0), 8: flat(40.0)}
    catalogue = build(spec("a", service=service, max_batch=4), spec("b", accuracy=0.8, service=service))
    assert [p.placement.variant for p in frontier("t", catalogue, rows=4)] == ["t/a", "t/b"]
    (point,) = frontier("t", catalogue, rows=8)
    assert (point.placement.variant, point.latency_ms, point.dominated) == ("t/b", pytest.approx(40.0), False)


def test_on_one_tier_only_its_placements_compete(build, spec, tier, flat) -> None:
    catalogue = build(
        spec("a", "slow", service={1: flat(20.0)}), spec("a", "quick"), tiers=(tier("slow"), tier("quick"))
    )
    assert [p.dominated for p in frontier("t", catalogue)] == [False, True]
    assert [(p.placement.tier, p.dominated) for p in frontier("t", catalogue, tier="slow")] == [("slow", False)]
    assert frontier("t", catalogue, tier="none") == ()


@pytest.mark.parametrize("seed", range(4))
def test_the_frontier_is_what_comparing_every_pair_finds(seed: int) -> None:
    catalogue = synthetic.catalogue(80, seed)
    points = frontier(synthetic.TASK, catalogue, rows=Random(seed).randint(1, 8))
    goals = {p.placement.id: (-p.accuracy, p.latency_ms, p.cost_usd) for p in points}

    def beats(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
        return a != b and all(x <= y for x, y in zip(a, b, strict=True))

    ahead = {name for name, mine in goals.items() if not any(beats(other, mine) for other in goals.values())}
    assert {p.placement.id for p in points if not p.dominated} == ahead
    for p in points:
        assert set(p.dominated_by) == {name for name in ahead if beats(goals[name], goals[p.placement.id])}
