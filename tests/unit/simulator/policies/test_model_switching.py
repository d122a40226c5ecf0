"""Model-Switching: an offline table of effective accuracy, and a look-up a second."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.policies.model_switching import ModelSwitching, Row, look_up, timely
from simulator.policies.options import CONTAINERS, options


def test_a_load_that_is_carried_easily_is_all_in_time_and_an_overload_hardly() -> None:
    ms = (100.0,) * 10

    assert timely(ms, 2, 1.0, 1000.0) == 1.0
    assert timely(ms, 2, 40.0, 1000.0) < 0.1
    assert timely(ms, 2, 1.0, 99.0) == 0.0


def test_the_best_at_a_load_is_the_last_row_that_it_reaches(build: Any) -> None:
    a, b = options(build({"a": (0.8, {1: 9.0}), "b": (0.9, {1: 9.0})}, "box"), "t", 95.0, CONTAINERS)
    rows = [Row(0.0, b), Row(4.0, a)]

    assert [look_up(rows, load) for load in (0.0, 3.9, 4.0, 99.0)] == [b, b, a, a]


MODELS = {"slow": (0.9, {1: 500.0}), "fast": (0.6, {1: 50.0})}
"""Two slots do 4 a second of the one and 40 of the other."""


def test_it_switches_where_the_slow_one_is_right_in_time_less_often(build: Any) -> None:
    policy = ModelSwitching(build(MODELS, "box"), copies=1)
    policy.tick(0.0)
    assert policy.pick("t", 5, 1000.0, 0.0)[0].placement.variant == "t/slow"

    chosen = {}
    for second, load in ((10, 1), (11, 20)):
        policy.rates["t"].add(second - 1.0, load)
        policy.tick(float(second))
        option, batch = policy.pick("t", 5, 1000.0, float(second))
        chosen[load] = option.placement.variant
        assert batch == 1

    assert chosen == {1: "t/slow", 20: "t/fast"}


@pytest.mark.parametrize("copies", [1, 4])
def test_more_copies_keep_the_accurate_one_for_longer(build: Any, copies: int) -> None:
    policy = ModelSwitching(build(MODELS, "box"), copies=copies)
    policy.tick(0.0)

    policy.rates["t"].add(9.0, 8)
    policy.tick(10.0)

    expected = {1: "t/fast", 4: "t/slow"}[copies]
    assert policy.pick("t", 1, 1000.0, 10.0)[0].placement.variant == expected
