from __future__ import annotations

import pytest

from registry.catalogue import Catalogue
from registry.model import Slo
from scheduler.choose import choose
from scheduler.decision import Decision
from scheduler.events import EnvironmentReady, Event, PlacementFailed, TierUnavailable, VariantQuarantined
from scheduler.fleet import Fleet
from scheduler.requests import Request


@pytest.fixture
def catalogue(build, spec, flat) -> Catalogue:
    return build(
        spec("large", accuracy=0.95, service={1: flat(41.2)}),
        spec("medium", accuracy=0.912, service={1: flat(20.0)}),
        spec("small", accuracy=0.80, service={1: flat(5.0)}, max_batch=8),
        spec("unknown", profiled=False, max_batch=8),
    )


def decide(catalogue: Catalogue, *events: Event, rows: int = 1, **hints: object) -> Decision:
    fleet = Fleet.empty(catalogue).apply(EnvironmentReady("cpu", "e", tuple(catalogue.variants), 0.0))
    for event in events:
        fleet = fleet.apply(event)
    return choose(Request("t", Slo().with_hints(hints), rows), catalogue, fleet, 1.0)


def why_not(decision: Decision) -> dict[str, str]:
    return {id_.removeprefix("t/").removesuffix("@cpu:1"): said for id_, said in decision.why_not().items()}


def test_later_ones_are_ranked_with_the_objectives_figures(catalogue) -> None:
    assert why_not(decide(catalogue)) == {
        "medium": "ranked 2nd: effective accuracy 0.912 < 0.95",
        "small": "ranked 3rd: effective accuracy 0.8 < 0.95",
        "unknown": "not profiled",
    }
    assert why_not(decide(catalogue, objective="cost"))["medium"] == "ranked 2nd: costs $0.02 > $0.005"
    assert why_not(decide(catalogue, objective="latency"))["large"] == "ranked 3rd: p95 41.2 ms > 5 ms"


def test_each_broken_bound_is_named_with_figures(catalogue) -> None:
    decision = decide(catalogue, latency_ms=30.0, min_accuracy=0.9, max_cost_usd=0.02, objective="cost")
    assert why_not(decision) == {
        "large": "p95 41.2 ms exceeds 30 ms; costs $0.042, over $0.02",
        "small": "accuracy 0.8 is below 0.9",
        "unknown": "not profiled",
    }


def test_figures_have_the_digits_that_tell_them_apart(catalogue) -> None:
    decision = decide(catalogue, latency_ms=41.1995)
    assert why_not(decision)["large"] == "p95 41.2 ms exceeds 41.1995 ms"


def test_everything_that_keeps_a_placement_from_running_is_said(catalogue) -> None:
    decision = decide(
        catalogue,
        TierUnavailable("cpu", "throttled", 3.0, 0.0),
        PlacementFailed("t/large@cpu:1", "broke", 2.5, 0.0),
        VariantQuarantined("t/medium", "digest mismatch", 0.0),
        rows=16,
    )
    tier = "tier cpu unavailable for 2 s more: throttled"
    assert why_not(decision) == {
        "large": f"failing for 1.5 s more: broke; {tier}",
        "medium": f"quarantined: digest mismatch; {tier}",
        "small": f"batch of 16 exceeds 8; {tier}",
        "unknown": f"not profiled; batch of 16 exceeds 8; {tier}",
    }
    assert decision.reason == "no placement can run now"


def test_a_tier_may_be_out_of_reach_for_good(catalogue) -> None:
    decision = decide(catalogue, TierUnavailable("cpu", "no GPU", float("inf"), 0.0))
    assert why_not(decision)["large"] == "tier cpu unavailable: no GPU"


def test_equals_are_told_apart_by_name(build, spec) -> None:
    assert why_not(decide(build(spec("a"), spec("b")))) == {
        "b": "ranked 2nd: as good as the chosen one, and later by name"
    }


def test_among_infeasible_ones_the_rank_and_the_breach_are_said(catalogue) -> None:
    decision = decide(catalogue, latency_ms=4.0, min_accuracy=0.79)
    assert decision.reason == ("no placement holds every bound; this one breaks them least: p95 5 ms exceeds 4 ms")
    assert why_not(decision)["medium"] == "ranked 2nd: p95 20 ms exceeds 4 ms"
    assert why_not(decide(catalogue, min_accuracy=0.99))["medium"] == "ranked 2nd: accuracy 0.912 is below 0.99"


@pytest.mark.parametrize(
    ("hints", "expected"),
    [
        ({}, "the highest effective accuracy, 0.95 (on time 1 × accuracy 0.95), of 3 placements that can run"),
        ({"objective": "cost"}, "the cheapest, $0.005, of 3 placements that can run"),
        ({"objective": "latency"}, "the fastest, p95 5 ms, of 3 placements that can run"),
        (
            {"latency_ms": 30.0, "min_accuracy": 0.9},
            "the highest effective accuracy, 0.911 (on time 0.999 × accuracy 0.912), "
            "of 1 placement that holds every bound",
        ),
        ({"min_accuracy": 0.9, "objective": "cost"}, "the cheapest, $0.02, of 2 placements that hold every bound"),
    ],
)
def test_why_the_first_is_first(catalogue, hints: dict[str, object], expected: str) -> None:
    assert decide(catalogue, **hints).reason == expected
