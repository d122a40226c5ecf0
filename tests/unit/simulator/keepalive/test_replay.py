"""What a replay counts, on traces made by hand, and the reference figures of the real one."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np
import pytest

from simulator.keepalive.histogram import HybridHistogram
from simulator.keepalive.policy import EventDriven, KeepAlive, MinuteDriven, Plans, Spans, during_next
from simulator.keepalive.replay import Played, replay
from simulator.keepalive.trace import Trace, one_a_minute
from simulator.keepalive.windows import Fixed
from simulator.traces import azure_2019

REAL = Path(__file__).resolve().parents[5] / "shared/traces/azure2019_femux/containers_per_min_100apps.csv.gz"


def asked(end: float, **times: Collection[float]) -> Trace:
    names = tuple(times)
    pairs = sorted((time, place) for place, name in enumerate(names) for time in times[name])
    return Trace(names, np.array([time for time, _ in pairs]), np.array([place for _, place in pairs]), end)


class Planned(EventDriven):
    """Always the same spans, counted from the request."""

    def __init__(self, *spans: tuple[float, float]) -> None:
        self.spans = spans

    def asked(self, application: str, now: float) -> Plans:
        return {application: [(now + start, now + stop) for start, stop in self.spans]}


class Scripted(MinuteDriven):
    """Warm by minute as written; remembers what it was told."""

    def __init__(self, script: Mapping[int, Collection[str]]) -> None:
        self.script = script
        self.told: list[tuple[int, list[str]]] = []

    def closed(self, minute: int, active: Collection[str]) -> Plans:
        self.told.append((minute, sorted(active)))
        return during_next(minute, self.script.get(minute, ()))


def test_without_keeping_alive_every_request_is_cold() -> None:
    found = replay(asked(10.0, a=[1.0, 2.0, 5.0]), Fixed(0.0))
    assert found.played == (Played("a", 3, (1.0, 2.0, 5.0), ahead=0, idle=0.0, after_last=0.0),)
    assert (found.cold_share, found.starts, found.idle_hours) == (1.0, 3, 0.0)


def test_a_window_is_warm_to_its_last_moment_and_idle_for_the_shorter_of_gap_and_window() -> None:
    (played,) = replay(asked(100.0, a=[1.0, 6.0, 11.5, 13.5]), Fixed(5.0)).played
    assert played.colds == (1.0, 11.5)
    assert played.idle == 5.0 + 5.0 + 2.0 + 5.0
    assert played.after_last == 5.0
    assert played.ahead == 0


def test_idle_time_ends_with_the_trace() -> None:
    (played,) = replay(asked(3.0, a=[1.0]), Fixed(60.0)).played
    assert (played.idle, played.after_last) == (2.0, 2.0)


def test_a_start_ahead_of_a_request_is_counted_and_makes_it_warm() -> None:
    (played,) = replay(asked(100.0, a=[1.0, 5.0, 20.0]), Planned((3.0, 6.0))).played
    assert played.colds == (1.0, 20.0)
    assert played.ahead == 3
    assert played.idle == 1.0 + 3.0 + 3.0


def test_apart_spans_are_starts_each() -> None:
    (played,) = replay(asked(100.0, a=[1.0]), Planned((0.0, 2.0), (5.0, 6.0), (8.0, 9.0))).played
    assert (played.ahead, played.idle) == (2, 4.0)


def test_minutes_are_told_in_order_with_what_was_asked_for_up_to_their_end() -> None:
    policy = Scripted({})
    replay(asked(5.0, a=[0.5, 1.0, 3.0], b=[1.0]), policy)
    assert policy.told == [(1, ["a", "b"]), (2, []), (3, ["a"]), (4, [])]


def test_a_minute_that_was_planned_is_warm_to_its_end_and_goes_on_into_the_next() -> None:
    (played,) = replay(asked(9.0, a=[1.0, 2.0, 4.0, 7.0]), Scripted({1: "a", 3: "a", 4: "a"})).played
    assert played.colds == (1.0, 7.0)
    assert played.ahead == 1
    assert played.idle == 3.0


def test_within_a_minute_a_cold_start_stays_until_the_minute_is_planned_anew() -> None:
    (played,) = replay(asked(9.0, a=[0.25, 0.75, 2.5, 3.5]), Scripted({1: "a", 3: "a"})).played
    assert played.colds == (0.25, 2.5)
    assert played.idle == pytest.approx(0.5 + 0.25 + 1.0 + 0.5 + 0.5 + 0.5)
    assert played.ahead == 0


def test_the_first_request_is_cold_whatever_was_planned() -> None:
    trace = asked(9.0, a=[4.0, 5.0], b=[1.0])
    found = replay(trace, Scripted(dict.fromkeys(range(9), ("a", "b"))))
    assert found.played[0].colds == (4.0,)
    assert found.played[0].idle == 5.0


def test_one_application_s_request_can_end_another_s_plan() -> None:
    class Single(EventDriven):
        kept = ""

        def asked(self, application: str, now: float) -> Plans:
            plans: dict[str, Spans] = {self.kept: ()} if self.kept else {}
            self.kept = application
            return {**plans, application: ((now, math.inf),)}

    a, b = replay(asked(20.0, a=[1.0, 10.0], b=[4.0, 5.0]), Single()).played
    assert (a.colds, a.idle, a.after_last) == ((1.0, 10.0), 3.0 + 10.0, 10.0)
    assert (b.colds, b.idle, b.after_last) == ((4.0,), 1.0 + 5.0, 5.0)


def test_shares_are_over_requests_and_quartiles_over_applications() -> None:
    found = replay(asked(60.0, a=[1.0, 2.0, 3.0, 4.0], b=[1.0]), Fixed(1.0))
    assert found.cold_share == 2 / 5
    assert found.q3_cold_share == 0.25 + 0.75 * 0.75
    assert found.requests == (4, 1)
    assert found.idle_hours == 5 / 60
    assert found.idle_between_hours == 3 / 60


def test_a_substitute_hides_the_cold_starts_that_it_answers() -> None:
    found = replay(asked(60.0, a=[1.0, 9.0], b=[2.0, 3.0]), Fixed(2.0))
    assert found.experienced(()) == found.cold_share == 3 / 4
    assert found.experienced({("a", 9.0), ("b", 3.0), ("b", 2.0)}) == 1 / 4


REFERENCE: list[tuple[Callable[[], KeepAlive], float, float, float]] = [
    (lambda: Fixed(0.0), 1.0, 0.0, 1.0),
    (lambda: Fixed(1.0), 0.2835, 579.0, 1.0),
    (lambda: Fixed(5.0), 0.0571, 1047.0, 0.934),
    (lambda: Fixed(10.0), 0.0257, 1159.0, 0.667),
    (lambda: Fixed(20.0), 0.0111, 1248.0, 0.5),
    (lambda: Fixed(60.0), 0.0049, 1397.0, 0.35),
    (HybridHistogram, 0.0085, 1040.0, 0.373),
]
"""Policy, cold share, idle hours between requests, third quartile: from a simulator where requests take a second."""


@pytest.mark.skipif(not REAL.is_file(), reason="the real trace is not here")
def test_reference_figures_of_azure_2019() -> None:
    trace = one_a_minute(azure_2019(REAL), "minute")
    for make, cold, idle, q3 in REFERENCE:
        found = replay(trace, make())
        assert sum(found.requests) == 35_261
        assert found.cold_share == pytest.approx(cold, abs=5.1e-5)
        assert found.idle_between_hours == pytest.approx(idle, rel=0.015)
        assert found.q3_cold_share == pytest.approx(q3, abs=1e-3)
