"""The platform's own policy over a forecaster that says what it is told to."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from simulator.keepalive.modelless import Modelless
from simulator.keepalive.policy import Plans
from simulator.keepalive.replay import replay
from simulator.keepalive.trace import one_a_minute
from simulator.traces import PerMinute


class Said:
    """Says the same of a task always, and remembers what was closed."""

    def __init__(self, **probabilities: float) -> None:
        self.probabilities = probabilities
        self.closed: list[tuple[int, list[str]]] = []

    def close(self, minute: int, active: Collection[str]) -> None:
        self.closed.append((minute, sorted(active)))

    def ahead(self, task: str) -> float:
        return self.probabilities[task]


def warm(plans: Plans) -> list[str]:
    return list(plans)


def test_warm_is_what_is_likely_enough_for_the_price() -> None:
    policy = Modelless(Said(a=0.05, b=0.049, c=0.9), ratio=0.05)
    assert policy.closed(7, ["b", "a", "c"]) == {"a": ((7.0, 8.0),), "c": ((7.0, 8.0),)}


def test_what_was_never_asked_for_is_not_considered() -> None:
    policy = Modelless(Said(a=1.0), ratio=0.1)
    assert warm(policy.closed(1, [])) == []
    assert warm(policy.closed(2, ["a"])) == ["a"]
    assert warm(policy.closed(3, [])) == ["a"]


def test_every_minute_is_handed_on_once_and_in_order() -> None:
    said = Said(a=0.0)
    trace = one_a_minute(PerMinute(("a",), np.array([[1, 0, 0, 1, 0, 0, 0]])), "minute")
    replay(trace, Modelless(said, ratio=0.5))
    assert said.closed == [(1, ["a"]), (2, []), (3, []), (4, ["a"]), (5, []), (6, [])]


def test_a_lower_ratio_trades_idle_time_for_cold_starts() -> None:
    trace = one_a_minute(PerMinute(("a", "b"), np.array([[1, 1, 1, 0, 1, 0], [1, 0, 0, 0, 0, 1]])), "minute")
    cheap, dear = (replay(trace, Modelless(Said(a=0.6, b=0.2), ratio)) for ratio in (0.1, 0.5))
    assert cheap.cold_share < dear.cold_share
    assert cheap.idle_hours > dear.idle_hours
