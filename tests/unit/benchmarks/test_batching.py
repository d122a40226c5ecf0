"""What the batching benchmark counts: requests in time, times to re-converge, and its rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import inf

import numpy as np
import pytest

from benchmarks.batching_rows import (
    DETAILS,
    SETTLED_S,
    Answered,
    Found,
    Limits,
    best_static,
    in_time,
    middle,
    quantile,
    reconverged,
    rows_of,
)

SLO_S = 0.020


def answered(latency_at: Callable[[float], float], stop: float = 3.0) -> Answered:
    """A request every millisecond, each with the latency (s) of its time."""
    due = np.arange(0.0, stop, 0.001)
    return Answered(due, due + np.array([latency_at(at) for at in due.tolist()]))


def changing(*parts: tuple[float, float]) -> Callable[[float], float]:
    """Each latency from its time on."""
    return lambda at: [latency for start, latency in parts if at >= start - 1e-9][-1]


def test_a_window_is_of_the_requests_that_were_due_in_it() -> None:
    found = Answered(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.5, inf, 2.25, 3.5]))
    assert found.between(1.0, 3.0).tolist() == [inf, 0.25]
    assert found.between(5.0, 6.0).tolist() == []


def test_what_is_not_answered_is_not_in_time() -> None:
    latencies = np.array([0.001, SLO_S, 0.021, inf])
    assert in_time(latencies, SLO_S) == 0.5
    assert quantile(latencies, 0.5) == SLO_S
    assert quantile(latencies, 0.99) == inf
    assert (in_time(np.empty(0), SLO_S), quantile(np.empty(0), 0.5)) == (0.0, inf)


def test_it_is_back_when_latencies_are_what_they_settle_to() -> None:
    found = answered(changing((0.0, 0.002), (1.0, 0.015), (1.5, 0.004)))
    # Half of the next quarter of a second is enough for its median.
    assert reconverged(found, SLO_S, since=1.0, until=3.0) == pytest.approx(0.375, abs=0.03)


def test_it_is_not_back_while_more_than_one_of_a_hundred_is_late() -> None:
    rare = answered(lambda at: 0.030 if at < 1.6 and round(at * 1000) % 40 == 0 else 0.004)
    assert reconverged(rare, SLO_S, since=1.0, until=3.0) == pytest.approx(0.6, abs=0.21)
    rarer = answered(lambda at: 0.030 if at < 1.6 and round(at * 1000) % 200 == 0 else 0.004)
    assert reconverged(rarer, SLO_S, since=1.0, until=3.0) == 0.0


def test_what_changes_nothing_is_back_at_once() -> None:
    assert reconverged(answered(lambda at: 0.004), SLO_S, since=1.0, until=3.0) == 0.0


def test_latencies_within_a_tenth_of_the_settled_ones_count() -> None:
    near = answered(changing((0.0, 0.0043), (2.0, 0.004)))
    far = answered(changing((0.0, 0.0045), (2.0, 0.004)))
    assert reconverged(near, SLO_S, since=1.0, until=3.0) == 0.0
    assert reconverged(far, SLO_S, since=1.0, until=3.0) == pytest.approx(0.875, abs=0.03)


def test_settled_latencies_that_range_further_are_the_measure() -> None:
    ranging = answered(changing((0.0, 0.005), (2.4, 0.004), (2.74, 0.006)))
    assert reconverged(ranging, SLO_S, since=1.0, until=3.0) == 0.0


def test_what_stays_late_never_is_back() -> None:
    late = answered(changing((0.0, 0.002), (1.0, inf)))
    assert reconverged(late, SLO_S, since=1.0, until=3.0) is None


def test_one_pause_at_the_end_does_not_unsettle_it() -> None:
    pause = answered(changing((0.0, 0.004), (2.8, 0.030), (2.82, 0.004)))
    assert reconverged(pause, SLO_S, since=1.0, until=3.0) == 0.0


def test_an_end_that_still_changes_is_not_settled() -> None:
    step = answered(changing((0.0, 0.002), (1.0, 0.015), (2.7, 0.004)))
    assert reconverged(step, SLO_S, since=1.0, until=3.0) is None


def test_what_only_the_settled_part_has_came_too_late() -> None:
    slow = answered(changing((0.0, 0.002), (1.0, 0.015), (3.0 - SETTLED_S + 0.2, 0.004)))
    assert reconverged(slow, SLO_S, since=1.0, until=3.0) is None
    in_time_ = answered(changing((0.0, 0.002), (1.0, 0.015), (3.0 - SETTLED_S, 0.004)))
    assert reconverged(in_time_, SLO_S, since=1.0, until=3.0) == pytest.approx(1.4, abs=0.03)


def test_a_trial_that_never_is_back_is_longer_than_any() -> None:
    assert middle([0.5, None, 0.1]) == 0.5
    assert middle([None, 0.1, None]) is None
    assert middle([0.2, 0.1]) == 0.2
    assert middle([]) is None


def found(**rates: list[float]) -> dict[str, Found]:
    return {
        name.replace("_", ":") if name.startswith("static") else name: Found(name, rps, [0.010] * len(rps))
        for name, rps in rates.items()
    }


def test_the_best_fixed_size_may_be_one_row() -> None:
    assert best_static(found(modelless=[9.0], none=[3.0], static_4=[2.0])) == "none"
    assert best_static(found(modelless=[9.0], none=[3.0], static_4=[4.0])) == "static:4"
    with pytest.raises(ValueError, match="empty"):
        best_static(found(modelless=[9.0]))


def test_rows_compare_each_round_with_the_best_fixed_size_of_the_same_round() -> None:
    policies = found(modelless=[90.0, 110.0, 120.0], none=[10.0, 10.0, 10.0], static_4=[50.0] * 3, static_8=[100.0] * 3)
    ours, none, best = rows_of("mlp", policies, {"none": 9.0, "static:8": 99.0}, Limits(500.0, 1000.0))
    assert (ours["policy"], none["policy"], best["policy"]) == ("modelless", "none", "best_static")
    assert (ours["rps"], ours["of_best"], best["rule"]) == (110.0, 1.1, "static_8")
    assert 0.9 <= ours["of_best_low"] <= ours["of_best_high"] <= 1.2
    assert none["of_best"] == 0.1
    assert best["static_rps"] == {"none": 9.0, "static:8": 99.0}
    assert (best["p99_ms"], best["ceiling_rps"], best["bound_by"]) == (10.0, 500.0, "loop")
    assert {tuple(row) for row in (ours, none, best)} == {tuple(ours)}
    assert set(DETAILS) < set(ours)
    json.dumps([ours, none, best], allow_nan=False)


def test_a_row_says_how_often_a_policy_was_not_back() -> None:
    policies = found(modelless=[9.0], static_4=[9.0])
    policies["modelless"].up_s += [0.1, 0.3, None]
    policies["modelless"].down_s += [None, None]
    ours, _ = rows_of("mlp", policies, {}, Limits(10.0, 1.0))
    assert (ours["reconverge_up_s"], ours["reconverge_down_s"], ours["bound_by"]) == (0.3, None, "model")
    assert ours["note"] == "up: not in 1 of 3; down: not in 2 of 2"


def test_a_policy_that_holds_no_rate_has_no_latency() -> None:
    policies = found(modelless=[0.0], static_4=[0.0])
    policies["modelless"].p99_s = [inf]
    ours, _ = rows_of("mlp", policies, {}, Limits(10.0, 1.0))
    assert (ours["rps"], ours["p99_ms"], ours["of_best"]) == (0.0, None, None)
