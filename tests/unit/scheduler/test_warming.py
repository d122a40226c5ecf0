from __future__ import annotations

import pytest

from registry.catalogue import Catalogue
from registry.errors import NotFound
from registry.model import Slo
from scheduler.actions import Warm
from scheduler.events import EnvironmentBusy, EnvironmentReady, Event, TierUnavailable
from scheduler.fleet import Fleet
from scheduler.requests import Request
from scheduler.warming import preferred, to_load, where_warm, worth_warming


@pytest.fixture
def catalogue(build, spec, flat) -> Catalogue:
    """Three variants that take a second to load, each slower and better than the next."""
    return build(
        spec("large", accuracy=0.95, service={1: flat(40.0)}, load=flat(1000.0)),
        spec("medium", accuracy=0.90, service={1: flat(20.0)}, load=flat(1000.0)),
        spec("small", accuracy=0.80, service={1: flat(5.0)}, load=flat(1000.0)),
    )


def ready(*resident: str, now: float = 0.0) -> Event:
    return EnvironmentReady("cpu", "e", tuple(f"t/{name}" for name in resident), now)


def wanted(catalogue: Catalogue, *events: Event, now: float = 1.0, **hints: object) -> Warm | None:
    fleet = Fleet.empty(catalogue)
    for event in events:
        fleet = fleet.apply(event)
    return worth_warming(Request("t", Slo().with_hints(hints)), catalogue, fleet, now)


@pytest.mark.parametrize(
    ("hints", "variant"),
    [
        ({"latency_ms": 30.0}, "t/medium"),
        ({"latency_ms": 30.0, "objective": "latency"}, "t/small"),
        ({"latency_ms": 50.0, "min_accuracy": 0.92}, "t/large"),
    ],
)
def test_the_best_of_what_would_hold_is_worth_warming(catalogue, hints: dict[str, object], variant: str) -> None:
    for events in ((), (ready(),), (ready("large") if variant != "t/large" else ready("small"),)):
        action = wanted(catalogue, *events, **hints)
        assert action is not None
        assert action.placement.variant == variant
        assert variant in action.reason


def test_nothing_is_where_nothing_would_hold_or_something_that_would_is_there(catalogue) -> None:
    assert wanted(catalogue, latency_ms=4.0) is None
    assert wanted(catalogue, latency_ms=30.0, min_accuracy=0.92) is None
    assert wanted(catalogue, ready("small"), latency_ms=30.0) is None
    assert wanted(catalogue, TierUnavailable("cpu", "off", 100.0, 0.0), latency_ms=30.0) is None
    with pytest.raises(NotFound):
        worth_warming(Request("other", Slo()), catalogue, Fleet.empty(catalogue), 0.0)


def test_what_an_expired_environment_held_is_nowhere(catalogue) -> None:
    assert wanted(catalogue, ready("medium"), now=99.0, latency_ms=30.0) is None
    assert wanted(catalogue, ready("medium"), now=101.0, latency_ms=30.0) is not None


def test_the_milliseconds_that_have_passed_count(catalogue) -> None:
    request = Request("t", Slo(latency_ms=30.0), elapsed_ms=12.0)
    action = worth_warming(request, catalogue, Fleet.empty(catalogue), 0.0)
    assert action is not None
    assert action.placement.variant == "t/small"


def test_where_warm_changes_no_fleet_and_starts_nothing(catalogue) -> None:
    fleet = Fleet.empty(catalogue)
    decision = where_warm(Request("t", Slo()), catalogue, fleet, 0.0)
    assert [(e.latency_ms, e.cold, e.load) for e in decision.ranked] == [
        (40.0, False, False),
        (20.0, False, False),
        (5.0, False, False),
    ]
    assert (fleet.columns.resident_until < 0).all()


def stood_in_for(catalogue: Catalogue, *events: Event, now: float = 1.0, **hints: object) -> Warm | None:
    fleet = Fleet.empty(catalogue)
    for event in events:
        fleet = fleet.apply(event)
    return preferred(Request("t", Slo().with_hints(hints)), catalogue, fleet, now)


def test_what_a_resident_substitute_stands_in_for_is_preferred(catalogue) -> None:
    action = stood_in_for(catalogue, ready("small"), latency_ms=100.0)
    assert action is not None
    assert action.placement.variant == "t/large"
    assert action.reason == "t/small stands in for t/large, which would be chosen were it resident"


@pytest.mark.parametrize(
    ("events", "hints"),
    [
        ((ready("large"),), {"latency_ms": 100.0}),
        ((), {"latency_ms": 5000.0}),  # it is loaded by the request itself
        ((ready("small"),), {"latency_ms": 10.0}),  # no other would hold it
        ((ready("small"),), {"latency_ms": 100.0, "objective": "latency"}),
        ((ready("small"),), {"latency_ms": 4.0}),
        ((TierUnavailable("cpu", "off", 100.0, 0.0),), {"latency_ms": 100.0}),
    ],
)
def test_nothing_is_preferred_where_no_other_variant_would_be_chosen(catalogue, events, hints) -> None:
    assert stood_in_for(catalogue, *events, **hints) is None


def test_what_is_resident_and_not_chosen_lacks_something_else(catalogue) -> None:
    busy = (EnvironmentBusy("cpu", "f", 0.0), EnvironmentBusy("cpu", "g", 0.0))
    full = (ready("small"), *(EnvironmentReady("cpu", name, (), 0.0) for name in "fg"), *busy)
    assert stood_in_for(catalogue, *full, latency_ms=100.0) is not None
    with pytest.raises(NotFound):
        preferred(Request("other", Slo()), catalogue, Fleet.empty(catalogue), 0.0)


def test_what_is_to_be_loaded_is_what_is_worth_it_or_else_preferred(catalogue) -> None:
    fleets = [Fleet.empty(catalogue)] + [Fleet.empty(catalogue).apply(ready(name)) for name in ("small", "large")]
    expected = [worth_warming, preferred, None]
    request = Request("t", Slo(latency_ms=50.0))
    for fleet, says in zip(fleets, expected, strict=True):
        action = to_load(request, catalogue, fleet, 1.0)
        assert action == (None if says is None else says(request, catalogue, fleet, 1.0))
        assert (action is None) == (says is None)
