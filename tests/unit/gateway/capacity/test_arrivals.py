"""Requests are counted by task and minute until they are taken, and counted again when that was in vain."""

from __future__ import annotations

from gateway.capacity.arrivals import Arrivals, minute_of
from registry.activity import Usage
from registry.model import Slo
from scheduler.requests import Request

LOOSE, TIGHT = Slo(), Slo(latency_ms=10)


def test_requests_are_counted_by_task_and_minute() -> None:
    now = 600.0
    arrivals = Arrivals(wall=lambda: now)
    arrivals.note(Request("digits", LOOSE, 2))
    arrivals.note(Request("flowers", LOOSE))
    arrivals.note(Request("digits", TIGHT, 3))
    now = 661.0
    arrivals.note(Request("digits", LOOSE))
    assert arrivals.take() == {
        10: (Usage("digits", 2, 5, TIGHT), Usage("flowers", 1, 1, LOOSE)),
        11: (Usage("digits", 1, 1, LOOSE),),
    }
    assert arrivals.take() == {}


def test_what_could_not_be_written_down_counts_with_what_came_since() -> None:
    arrivals = Arrivals(wall=lambda: 600.0)
    arrivals.note(Request("digits", LOOSE))
    taken = arrivals.take()
    arrivals.note(Request("digits", TIGHT))
    arrivals.give_back(taken)
    assert arrivals.take() == {10: (Usage("digits", 2, 2, TIGHT),)}


def test_minutes_are_whole() -> None:
    assert [minute_of(at) for at in (0.0, 59.9, 60.0)] == [0, 0, 1]
