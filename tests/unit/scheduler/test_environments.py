from __future__ import annotations

import itertools

import pytest

from scheduler.environments import TRANSITIONS, Environment, EnvironmentEvent, State
from scheduler.errors import FleetError
from scheduler.events import EnvironmentBusy, EnvironmentGone, EnvironmentReady, EnvironmentStarting

EVENTS: tuple[EnvironmentEvent, ...] = (
    EnvironmentStarting("cpu", "e", 1.0),
    EnvironmentReady("cpu", "e", ("t/a",), 2.0),
    EnvironmentBusy("cpu", "e", 3.0),
    EnvironmentGone("cpu", "e", "crashed", 4.0),
)


def environment(state: State, slots: int = 1) -> Environment:
    return Environment(state, slots, running=1 if state is State.BUSY else 0)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, EVENTS)))
def test_the_table_decides_what_can_happen(state: State, event: EnvironmentEvent) -> None:
    expected = TRANSITIONS[state].get(type(event))
    if expected is None:
        with pytest.raises(FleetError, match=f"{type(event).__name__} cannot happen .* which is {state}"):
            environment(state, slots=2).after(event)
    else:
        assert environment(state, slots=2).after(event).state is expected


def test_illegal_transitions_are_these() -> None:
    illegal = {(s, type(e).__name__) for s in State for e in EVENTS if type(e) not in TRANSITIONS[s]}
    assert illegal == {
        (State.GONE, "EnvironmentBusy"),
        (State.GONE, "EnvironmentGone"),
        (State.STARTING, "EnvironmentStarting"),
        (State.IDLE, "EnvironmentStarting"),
        (State.BUSY, "EnvironmentStarting"),
    }


def test_ready_brings_what_is_resident_and_when() -> None:
    ready = environment(State.STARTING).after(EVENTS[1])
    assert ready == Environment(State.IDLE, 1, 0, ("t/a",), 2.0)
    assert ready.free == 1


def test_an_ordinary_environment_runs_one_request() -> None:
    busy = environment(State.IDLE).after(EVENTS[2])
    assert (busy.running, busy.free) == (1, 0)
    with pytest.raises(FleetError, match="runs 1 requests already, and has 1 slots"):
        busy.after(EVENTS[2])


def test_a_shared_environment_stays_busy_until_its_last_run_ends() -> None:
    one = environment(State.IDLE, slots=2).after(EVENTS[2])
    two = one.after(EVENTS[2])
    assert [(e.state, e.running, e.free) for e in (one, two)] == [(State.BUSY, 1, 1), (State.BUSY, 2, 0)]
    with pytest.raises(FleetError, match="2 slots"):
        two.after(EVENTS[2])
    left = two.after(EVENTS[1])
    assert (left.state, left.running) == (State.BUSY, 1)
    assert left.after(EVENTS[1]).state is State.IDLE


@pytest.mark.parametrize("state", [State.GONE, State.STARTING])
def test_nothing_is_free_before_it_is_ready(state: State) -> None:
    assert environment(state, slots=4).free == 0


def test_gone_forgets() -> None:
    assert environment(State.BUSY, slots=2).after(EVENTS[3]) == Environment(State.GONE, 2)
