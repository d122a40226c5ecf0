"""Jellyfish+: the most accurate variant and batch that keep up with 1.05 times the load, in half the bound."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.policies.jellyfish import Jellyfish, best
from simulator.policies.options import CONTAINERS, options

MODELS = {"slow": (0.9, {1: 250.0, 2: 450.0, 4: 840.0}), "fast": (0.7, {1: 40.0, 2: 50.0, 4: 80.0})}
"""A second: 4 and 4.44 of the slow one within 500 ms, 25 and 40 and 50 of the fast one."""


@pytest.mark.parametrize(
    ("load", "chosen"),
    [
        (0.0, ("t/slow", 1)),
        (3.80, ("t/slow", 1)),  # x 1.05 = 3.99
        (3.82, ("t/slow", 2)),
        (4.23, ("t/slow", 2)),
        (4.24, ("t/fast", 1)),
        (30.0, ("t/fast", 2)),
        (99.0, ("t/fast", 4)),
    ],
)
def test_the_most_accurate_that_keeps_up(build: Any, load: float, chosen: tuple[str, int]) -> None:
    found = list(options(build(MODELS, "box"), "t", 95.0, CONTAINERS))

    option, batch = best(found, load, 1000.0)

    assert (option.placement.variant, batch) == chosen


def test_half_the_bound_is_for_the_wait(build: Any) -> None:
    found = list(options(build(MODELS, "box"), "t", 95.0, CONTAINERS))

    assert best(found, 0.0, 499.0)[0].placement.variant == "t/fast"


def test_the_choice_is_the_last_second_s(build: Any) -> None:
    policy = Jellyfish(build(MODELS, "box"), copies=1)
    policy.tick(0.0)

    policy.rates["t"].add(9.0, 40)
    assert policy.pick("t", 9, 1000.0, 9.5)[0].placement.variant == "t/slow"
    policy.tick(10.0)

    option, batch = policy.pick("t", 9, 1000.0, 10.0)
    assert (option.placement.variant, batch) == ("t/fast", 1), "20 a second for each of two slots, and 25 are done"
