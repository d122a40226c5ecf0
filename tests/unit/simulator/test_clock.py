"""The virtual clock: order, and what it refuses."""

from __future__ import annotations

import pytest

from simulator.clock import ARRIVAL, END, START, Clock


def test_events_come_by_time_then_priority_then_as_asked_for() -> None:
    clock, seen = Clock(), []
    for name, time, priority in (("d", 2.0, END), ("c", 1.0, ARRIVAL), ("a", 1.0, START), ("b", 1.0, START)):
        clock.at(time, priority, lambda name=name: seen.append((name, clock.now)))
    clock.run()
    assert seen == [("a", 1.0), ("b", 1.0), ("c", 1.0), ("d", 2.0)]


def test_what_an_event_gives_rise_to_happens_too_up_to_the_end() -> None:
    clock, seen = Clock(), []

    def again() -> None:
        seen.append(clock.now)
        clock.at(clock.now + 1.0, END, again)

    clock.at(0.0, END, again)
    clock.run(until=3.0)
    assert seen == [0.0, 1.0, 2.0, 3.0]
    assert clock.now == 3.0


def test_nothing_happens_in_the_past_or_at_no_time() -> None:
    clock = Clock()
    clock.at(5.0, END, lambda: None)
    clock.run()
    for time in (4.0, float("nan")):
        with pytest.raises(ValueError, match="it is 5"):
            clock.at(time, END, lambda: None)


def test_a_failure_stops_the_run() -> None:
    clock, seen = Clock(), []

    def fail() -> None:
        raise KeyError("unhandled")

    clock.at(1.0, END, fail)
    clock.at(2.0, END, lambda: seen.append(clock.now))
    with pytest.raises(KeyError, match="unhandled"):
        clock.run()
    assert seen == []
