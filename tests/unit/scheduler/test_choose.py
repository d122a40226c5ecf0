from __future__ import annotations

import pytest

from registry.catalogue import Catalogue
from registry.errors import NotFound
from registry.model import Price, Slo
from scheduler.choose import choose
from scheduler.decision import Decision
from scheduler.events import AccuracyJudged, EnvironmentReady, Event, TierUnavailable
from scheduler.fleet import Fleet
from scheduler.requests import Request


@pytest.fixture
def catalogue(build, spec, flat) -> Catalogue:
    """Three variants: the better, the slower and dearer; a dollar a second, everything resident."""
    return build(
        spec("large", accuracy=0.95, service={1: flat(40.0)}),
        spec("medium", accuracy=0.90, service={1: flat(20.0)}),
        spec("small", accuracy=0.80, service={1: flat(5.0)}),
    )


def decide(catalogue: Catalogue, *events: Event, rows: int = 1, **hints: object) -> Decision:
    resident = tuple(catalogue.variants)
    fleet = Fleet.empty(catalogue).apply(EnvironmentReady("cpu", "e", resident, 0.0))
    for event in events:
        fleet = fleet.apply(event)
    return choose(Request("t", Slo().with_hints(hints), rows), catalogue, fleet, 1.0)


def order(decision: Decision) -> list[str]:
    return [e.placement.variant.removeprefix("t/") for e in decision.ranked]


@pytest.mark.parametrize(
    ("hints", "expected"),
    [
        ({}, ["large", "medium", "small"]),
        ({"objective": "cost"}, ["small", "medium", "large"]),
        ({"objective": "latency"}, ["small", "medium", "large"]),
        ({"latency_ms": 30.0}, ["medium", "small", "large"]),
        ({"latency_ms": 10.0}, ["small", "medium", "large"]),
        ({"objective": "cost", "min_accuracy": 0.85}, ["medium", "large", "small"]),
        ({"objective": "latency", "min_accuracy": 0.95}, ["large", "medium", "small"]),
        ({"max_cost_usd": 0.02}, ["medium", "small", "large"]),
    ],
)
def test_every_bound_binds_under_every_objective(catalogue, hints: dict[str, object], expected: list[str]) -> None:
    decision = decide(catalogue, **hints)
    assert (order(decision), decision.feasible, decision.broken, decision.nearest) == (expected, True, (), None)


@pytest.mark.parametrize(
    ("hints", "expected"),
    [
        ({}, ["medium", "small", "large"]),
        ({"objective": "cost", "min_accuracy": 0.85}, ["medium", "small", "large"]),
        ({"min_accuracy": 0.95}, ["medium", "small", "large"]),
    ],
)
def test_a_judged_accuracy_counts_as_a_measured_one(catalogue, hints: dict[str, object], expected: list[str]) -> None:
    decision = decide(catalogue, AccuracyJudged("t/large", 0.3, 0.5), **hints)
    assert order(decision) == expected
    assert decision.ranked[2].accuracy == decision.ranked[2].effective_accuracy == 0.3
    if "min_accuracy" in hints:
        assert "accuracy 0.3 is below" in decision.why_not()["t/large@cpu:1"]


def test_effective_accuracy_prefers_what_is_on_time(build, spec, ramp) -> None:
    """0.95 × 0.75 on time loses to 0.8 × 0.999, though both hold the median within the deadline."""
    catalogue = build(
        spec("large", accuracy=0.95, service={1: ramp(0, 100)}), spec("small", accuracy=0.8, service={1: ramp(0, 10)})
    )
    decision = decide(catalogue, latency_ms=75.0, percentile=50.0)
    assert order(decision) == ["small", "large"]
    assert [e.effective_accuracy for e in decision.ranked] == [pytest.approx(0.7992), pytest.approx(0.7125)]


def test_ties_go_to_the_cheaper_then_the_faster_then_the_name(build, spec, tier, flat) -> None:
    dear = tier("dear", price=Price(usd_per_busy_s=2.0))
    catalogue = build(
        spec("b", service={1: flat(10.0)}),
        spec("a", service={1: flat(10.0)}),
        spec("a", "dear", service={1: flat(10.0)}),
        spec("c", service={1: flat(9.9995)}),  # billed as 10 ms, like the others
        tiers=(tier("cpu"), dear),
    )
    fleet = Fleet.empty(catalogue)
    for name in ("cpu", "dear"):
        fleet = fleet.apply(EnvironmentReady(name, "e", tuple(catalogue.variants), 0.0))
    decision = choose(Request("t", Slo()), catalogue, fleet, 1.0)
    assert [e.placement.id for e in decision.ranked] == ["t/c@cpu:1", "t/a@cpu:1", "t/b@cpu:1", "t/a@dear:1"]
    assert decision.ranked[0] == decision.ranked[:][0]


def test_infeasible_serves_what_breaks_the_bounds_least(catalogue) -> None:
    """Relative excess of 2 ms: small 1.5, medium 9; of accuracy 0.99: small 0.19, medium 0.09."""
    decision = decide(catalogue, latency_ms=2.0, min_accuracy=0.99)
    assert order(decision) == ["small", "medium", "large"]
    assert (decision.feasible, decision.broken) == (False, ("latency_ms", "min_accuracy"))
    assert decision.nearest == Slo(latency_ms=5.0, min_accuracy=0.80)
    assert [e.broken for e in decision.ranked] == [("latency_ms", "min_accuracy")] * 3


def test_the_nearest_slo_relaxes_only_what_is_broken(catalogue) -> None:
    decision = decide(catalogue, latency_ms=19.0, min_accuracy=0.89, max_cost_usd=0.5)
    assert decision.broken == ("latency_ms",)
    assert decision.nearest == Slo(latency_ms=20.0, min_accuracy=0.89, max_cost_usd=0.5)


def test_a_latency_bound_next_to_nothing_ranks_by_excess_all_the_same(catalogue) -> None:
    decision = decide(catalogue, latency_ms=5e-324)
    assert order(decision) == ["small", "medium", "large"]
    assert decision.nearest == Slo(latency_ms=decision.ranked[0].latency_ms)


def test_a_bound_of_nothing_can_be_relaxed(catalogue) -> None:
    decision = decide(catalogue, max_cost_usd=0.0)
    assert (order(decision)[0], decision.broken) == ("small", ("max_cost_usd",))
    assert decision.nearest == Slo(max_cost_usd=0.005)


def test_what_no_slo_can_ask_for_is_not_nearest(build, spec, flat) -> None:
    catalogue = build(spec("slow", service={1: flat(2e6)}))
    decision = decide(catalogue, latency_ms=1.0)
    assert (len(decision.ranked), decision.nearest) == (1, None)


def test_nothing_can_run(catalogue) -> None:
    decision = decide(catalogue, TierUnavailable("cpu", "throttled", 9.0, 0.0))
    assert (len(decision.ranked), decision.feasible, decision.broken, decision.nearest) == (0, False, (), None)
    assert list(decision.ranked) == []
    with pytest.raises(IndexError):
        decision.ranked[0]


def test_a_task_without_profiles_cannot_run(build, spec) -> None:
    catalogue = build(spec("a", profiled=False))
    decision = choose(Request("t", Slo(latency_ms=1.0)), catalogue, Fleet.empty(catalogue), 0.0)
    assert (len(decision.ranked), decision.feasible) == (0, False)


def test_an_unknown_task_is_not_found(catalogue) -> None:
    with pytest.raises(NotFound):
        choose(Request("nobody", Slo()), catalogue, Fleet.empty(catalogue), 0.0)


def test_a_fleet_of_an_older_catalogue_is_carried_over(catalogue, build, spec, flat) -> None:
    fleet = Fleet.empty(catalogue).apply(EnvironmentReady("cpu", "e", ("t/small",), 0.0))
    newer = build(spec("small", accuracy=0.80, service={1: flat(5.0)}, init=flat(100.0))).at(7)
    decision = choose(Request("t", Slo()), newer, fleet, 1.0)
    assert (decision.catalogue_version, decision.ranked[0].latency_ms, decision.ranked[0].cold) == (7, 5.0, False)


def test_the_deadline_counts_from_arrival(catalogue) -> None:
    fleet = Fleet.empty(catalogue).apply(EnvironmentReady("cpu", "e", tuple(catalogue.variants), 0.0))
    slo = Slo(latency_ms=45.0)
    late = [choose(Request("t", slo, 1, elapsed), catalogue, fleet, 1.0).ranked[0] for elapsed in (0.0, 10.0, 30.0)]
    assert [(e.placement.variant, e.latency_ms) for e in late] == [
        ("t/large", 40.0),
        ("t/medium", 30.0),
        ("t/small", 35.0),
    ]


def test_many_candidates_choose_what_few_would(build, spec, ramp) -> None:
    """Dropping candidates that cannot win changes nothing: 60 are ranked by the full sort, too."""
    catalogue = build(
        *(spec(f"v{i}", accuracy=0.5 + i / 150, service={1: ramp(0.0, 20.0 + i)}, load=ramp(0, 1)) for i in range(60))
    )
    for latency_ms in (30.0, 50.0, 79.0, 200.0):
        for percentile in (50.0, 62.5, 90.0, 99.9):
            decision = decide(catalogue, latency_ms=latency_ms, percentile=percentile)
            assert decision.ranked[0] == decision.ranked[:][0]
            best = max(e.effective_accuracy for e in decision.ranked if not e.broken) if decision.feasible else None
            assert best in (None, decision.ranked[0].effective_accuracy)
