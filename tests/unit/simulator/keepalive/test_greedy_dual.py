"""Who is evicted for whom."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.keepalive.greedy_dual import GreedyDual
from simulator.keepalive.policy import Plans

SIZES = {"small": 10.0, "large": 40.0, "middle": 20.0}


def evicted(plans: Plans) -> set[str]:
    return {name for name, spans in plans.items() if not spans}


def test_nothing_is_evicted_while_there_is_room() -> None:
    policy = GreedyDual(SIZES, 70.0, dict.fromkeys(SIZES, 1.0))
    for time, name in enumerate(SIZES):
        assert policy.asked(name, float(time)) == {name: ((float(time), math.inf),)}


def test_the_largest_goes_first_and_the_frequent_stay() -> None:
    policy = GreedyDual({**SIZES, "new": 20.0}, 70.0, dict.fromkeys([*SIZES, "new"], 1.0))
    for name in SIZES:
        policy.asked(name, 0.0)
    assert evicted(policy.asked("new", 1.0)) == {"large"}
    often = GreedyDual({**SIZES, "new": 20.0}, 70.0, dict.fromkeys([*SIZES, "new"], 1.0))
    for name in [*SIZES, "large", "large", "large"]:
        often.asked(name, 0.0)
    assert evicted(often.asked("new", 1.0)) == {"middle"}


def test_a_costly_start_is_worth_its_memory() -> None:
    policy = GreedyDual({**SIZES, "new": 20.0}, 70.0, {"small": 1.0, "large": 5.0, "middle": 1.0, "new": 1.0})
    for name in SIZES:
        policy.asked(name, 0.0)
    assert evicted(policy.asked("new", 1.0)) == {"middle"}


def test_the_clock_ages_what_is_not_asked_for() -> None:
    sizes = dict.fromkeys("abcde", 10.0)
    policy = GreedyDual(sizes, 20.0, dict.fromkeys(sizes, 1.0))
    for name in "aaab":
        policy.asked(name, 0.0)
    # Priorities: a 0.3, b 0.1. Each newcomer starts at the clock, and after three of them a is the lowest.
    assert [evicted(policy.asked(name, 1.0)) for name in "cde"] == [{"b"}, {"c"}, {"a"}]


def test_what_is_larger_than_the_memory_evicts_nobody_and_is_not_kept() -> None:
    policy = GreedyDual(SIZES, 35.0, dict.fromkeys(SIZES, 1.0))
    policy.asked("small", 0.0)
    assert policy.asked("large", 1.0) == {}
    assert evicted(policy.asked("middle", 2.0)) == set()


def test_a_size_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"a has a size of 0\.0 MB"):
        GreedyDual({"a": 0.0}, 10.0, {"a": 1.0})


@given(st.lists(st.sampled_from("abcdef"), max_size=60), st.floats(5.0, 80.0))
def test_what_is_kept_fits(asked: list[str], capacity: float) -> None:
    sizes = {name: float(size) for name, size in zip("abcdef", np.arange(6) * 7 + 3, strict=True)}
    policy, kept = GreedyDual(sizes, capacity, dict.fromkeys(sizes, 1.0)), set[str]()
    for time, name in enumerate(asked):
        plans = policy.asked(name, float(time))
        assert evicted(plans) <= kept
        kept = (kept - evicted(plans)) | (plans.keys() - evicted(plans))
        assert sum(sizes[each] for each in kept) <= capacity
