"""One environment that runs share: what the fleet is told of it is legal, whatever comes between."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backends.shared_environment import SharedEnvironment
from registry.catalogue import Catalogue
from registry.model import Price, StartMode, Tier, TierKind
from scheduler.events import Event
from scheduler.fleet import Fleet

TIER = Tier("box", TierKind.CONTAINER, 2.0, 4096, 2, StartMode.ALWAYS, Price(0.0))


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def environment(events: list[Event]) -> SharedEnvironment:
    made = SharedEnvironment(TIER, emit=events.append, clock=lambda: float(len(events)))
    made.starts()
    made.came()
    return made


def fleet_after(events: list[Event]) -> Fleet:
    fleet = Fleet.empty(Catalogue.empty().with_tiers(TIER))
    for event in events:
        fleet = fleet.apply(event)  # raises FleetError for what cannot happen
    return fleet


def test_only_as_many_runs_as_there_are_slots_are_told_of(environment: SharedEnvironment, events: list[Event]) -> None:
    lives = [environment.begin() for _ in range(5)]
    assert (environment.full, environment.under_way) == (True, 5)
    assert fleet_after(events).tier("box").running == 2
    for left in (2, 2, 2, 1, 0):
        environment.end(lives.pop())
        assert fleet_after(events).tier("box").running == left


def test_what_is_resident_is_told_at_once_or_when_a_run_ends(
    environment: SharedEnvironment, events: list[Event]
) -> None:
    environment.report({"digits/a"})
    assert fleet_after(events).tier("box").warm_with("digits/a", 0.0)
    life = environment.begin()
    environment.report({"digits/b"})
    assert not fleet_after(events).tier("box").warm_with("digits/b", 0.0)
    environment.end(life)
    assert fleet_after(events).tier("box").warm_with("digits/b", 0.0)
    assert dict(environment.status("").resident) == {"digits/b": 1}


def test_the_runs_of_one_that_went_are_none_of_the_next_one_s(
    environment: SharedEnvironment, events: list[Event]
) -> None:
    lost = environment.begin()
    environment.went("killed")
    environment.went("closed")
    assert Counter(type(event).__name__ for event in events)["EnvironmentGone"] == 1
    environment.starts()
    assert environment.status("starting").starting == 1
    environment.came()
    environment.begin()
    environment.end(lost)
    assert (environment.under_way, fleet_after(events).tier("box").running) == (1, 1)


@given(st.lists(st.sampled_from(["begin", "end", "report", "go", "come"]), max_size=60))
def test_whatever_happens_its_events_are_legal(steps: list[str]) -> None:
    events: list[Event] = []
    environment = SharedEnvironment(TIER, emit=events.append, clock=lambda: float(len(events)))
    lives: list[int] = []
    here = False
    for step in steps:
        if step == "begin" and here:
            lives.append(environment.begin())
        elif step == "end" and lives:
            environment.end(lives.pop(0))
        elif step == "report":
            environment.report({f"digits/{len(events)}"})
        elif step == "go":
            environment.went("gone")
            here = False
        elif step == "come" and not here:
            environment.starts()
            environment.came()
            here = True
    state = fleet_after(events).tier("box")
    assert state.live == here
    assert state.running == min(environment.under_way, TIER.concurrency)
