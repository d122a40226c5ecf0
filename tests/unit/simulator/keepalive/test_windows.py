"""Fixed windows, and the bound that knows what comes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.keepalive.histogram import HybridHistogram
from simulator.keepalive.replay import replay
from simulator.keepalive.trace import one_a_minute
from simulator.keepalive.windows import Fixed, Oracle
from simulator.traces import PerMinute

DAYS = st.lists(st.lists(st.integers(0, 1), min_size=30, max_size=30), min_size=1, max_size=3).filter(
    lambda rows: any(any(row) for row in rows)
)


@settings(max_examples=30)
@given(DAYS)
def test_nothing_that_never_starts_ahead_is_colder_less_often_than_a_longer_window(rows: list[list[int]]) -> None:
    trace = one_a_minute(PerMinute(("a", "b", "c")[: len(rows)], np.array(rows)), "minute")
    found = [replay(trace, Fixed(minutes)) for minutes in (0.0, 1.0, 5.0, 60.0)]
    colds, idle = [each.cold_share for each in found], [each.idle_hours for each in found]
    assert colds == sorted(colds, reverse=True)
    assert idle == sorted(idle)
    for each in found:
        assert each.starts == sum(len(played.colds) for played in each.played)


@settings(max_examples=30)
@given(DAYS)
def test_the_oracle_is_cold_once_for_each_application_and_idle_a_minute_at_most(rows: list[list[int]]) -> None:
    trace = one_a_minute(PerMinute(("a", "b", "c")[: len(rows)], np.array(rows)), "minute")
    oracle, hybrid = replay(trace, Oracle(trace)), replay(trace, HybridHistogram())
    assert [len(each.colds) for each in oracle.played] == [1] * len(trace.applications)
    assert oracle.cold_share <= hybrid.cold_share
    assert oracle.idle_hours * 60 <= sum(oracle.requests) - len(trace.applications) + 1e-9
    assert oracle.idle_hours == oracle.idle_between_hours


def test_the_oracle_comes_a_minute_before_the_next_request() -> None:
    trace = one_a_minute(PerMinute(("a",), np.array([[1, 1, 0, 0, 1, 0]])), "minute")
    oracle = Oracle(trace)
    assert oracle.asked("a", 1.0) == {"a": ((1.0, 2.0),)}
    assert oracle.asked("a", 2.0) == {"a": ((4.0, 5.0),)}
    assert oracle.asked("a", 5.0) == {}
