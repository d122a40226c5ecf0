"""MArk: containers that pay for themselves, functions for the rest."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.actions import Provision
from simulator.policies.mark import AGREED, COOL, PERIOD_S, Mark, planned, waits_s
from simulator.policies.options import CONTAINERS, options
from simulator.policies.pools import Lane
from simulator.policy import Invoke

MODELS = {"good": (0.9, {1: 100.0}), "fair": (0.7, {1: 10.0})}
"""A copy does 20 a second of the good one for 0.002 USD, so that each costs 0.0001; a function's costs 0.0011."""


@pytest.mark.parametrize(
    ("load", "have", "copies"),
    [
        (0.0, 0, 0),
        (1.0, 0, 0),  # 0.002 x (250 + 180) / 250 = 0.00344 for each request
        (1.0, 1, 0),  # 0.002
        (2.0, 1, 1),  # 0.001, as it is there already
        (2.0, 0, 0),  # 0.00172 with its launch
        (4.0, 0, 1),  # 0.00086
        (21.0, 1, 1),  # a second copy would serve one request a second
        (24.0, 1, 2),
    ],
)
def test_a_copy_serves_for_less_than_functions_or_is_not_planned(
    build: Any, load: float, have: int, copies: int
) -> None:
    (option, *_) = (o for o in options(build(MODELS, "box"), "t", 95.0, CONTAINERS) if o.accuracy == 0.9)

    assert planned(option, load, 0.0011, have) == copies


def test_how_long_a_job_would_be_under_way(build: Any) -> None:
    (option, *_) = (o for o in options(build(MODELS, "box"), "t", 95.0, CONTAINERS) if o.accuracy == 0.9)
    lane = Lane(option)
    assert waits_s(lane, 1) == float("inf")

    lane.units = 4
    lane.running = 3

    assert waits_s(lane, 2) == pytest.approx(0.1)
    assert waits_s(lane, 1) == pytest.approx(0.2), "only one copy of two slots is up"


def test_everything_goes_to_functions_before_there_are_copies(build: Any, ask: Any) -> None:
    catalogue = build(MODELS, "box", "small")
    job = ask(0.0)

    assert list(Mark(catalogue).arrive(job, 0.0)) == [Invoke(catalogue.placements["t/good@small:1"], (job,))]


def busy(policy: Mark, ask: Any, now: float) -> list[Provision]:
    """A period of ten requests a second in its last five seconds, and the plan after it."""
    for i in range(50):
        policy.arrive(ask(now - 5 + i / 10), now - 5 + i / 10)
    return [action for action in policy.tick(now) if isinstance(action, Provision)]


def test_after_the_warm_up_a_load_gets_its_copy_and_the_overflow_functions(build: Any, ask: Any) -> None:
    catalogue = build(MODELS, "box", "small")
    policy = Mark(catalogue)
    for period in range(1, COOL):
        assert busy(policy, ask, period * PERIOD_S) == []

    (provision,) = busy(policy, ask, COOL * PERIOD_S)

    assert provision.copies == 1, "1.2 x 10 a second"
    later = COOL * PERIOD_S + 1000.0
    begun = [next(iter(policy.arrive(ask(later), later)), None) for _ in range(23)]
    tiers = [action.placement.tier for action in begun if isinstance(action, Invoke)]
    # Two run, eighteen wait for up to nine runs before theirs, and the rest would be late.
    assert tiers == ["box", "box", "small", "small", "small"]


def test_a_copy_goes_when_six_plans_agree(build: Any, ask: Any) -> None:
    policy = Mark(build(MODELS, "box", "small"))
    for period in range(1, COOL + 1):
        busy(policy, ask, period * PERIOD_S)

    quiet = [policy.tick((COOL + i) * PERIOD_S) for i in range(1, AGREED + 1)]

    copies = [action.copies for actions in quiet for action in actions if isinstance(action, Provision)]
    assert copies == [0]
    assert any(isinstance(action, Provision) for action in quiet[-1]), "the sixth"
