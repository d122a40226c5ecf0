"""Cocktail: the accuracy of its votes, its members, and that every member runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from registry.model import Slo
from simulator.hardware import Hardware
from simulator.policies.cocktail import Cocktail, adapted, vote
from simulator.policies.options import CONTAINERS, options
from simulator.policies.platform import platform
from simulator.policies.pools import Lane
from simulator.policy import Invoke
from simulator.simulation import Stream, simulate


def test_three_alike_vote_by_majority() -> None:
    # All three right, or two of three: 0.512 + 3 x 0.128.
    assert vote([0.8, 0.8, 0.8], 0.0) == pytest.approx(0.896)
    assert vote([0.8, 0.8, 0.8], 1.0) == 0.8
    assert vote([0.8, 0.8, 0.8], 0.5) == pytest.approx(0.848)


def test_a_member_that_is_much_better_outvotes_the_others() -> None:
    # log(0.99 / 0.01) = 4.6 against twice log(0.6 / 0.4) = 0.4.
    assert vote([0.6, 0.99, 0.6], 0.0) == pytest.approx(0.99)
    assert vote([0.7], 0.3) == 0.7


def test_the_paper_s_ten_models_reach_what_it_promises() -> None:
    table = [0.684, 0.681, 0.679, 0.711, 0.66, 0.65, 0.70, 0.698, 0.73, 0.728]

    assert vote(table, 0.82) == pytest.approx(0.76, abs=0.002)


@pytest.fixture
def lanes(build: Any) -> list[Lane]:
    models = {"a": (0.7, {1: 10.0}), "b": (0.8, {1: 90.0}), "c": (0.8, {1: 50.0}), "d": (0.8, {1: 40.0})}
    return [Lane(option) for option in options(build(models, "box"), "t", 95.0, CONTAINERS)]


def names(lanes: list[Lane]) -> str:
    return "".join(lane.option.placement.variant[-1] for lane in lanes)


def test_the_slowest_that_is_not_needed_is_dropped(lanes: list[Lane]) -> None:
    rest = adapted(lanes, lanes, 0.75, 0.5)

    assert set(names(rest)) == set("acd")
    assert set(names(adapted(rest, lanes, 0.75, 0.5))) == set("ad")
    assert names(adapted(adapted(rest, lanes, 0.75, 0.5), lanes, 0.75, 0.5)) == "d"


def test_one_is_added_where_the_vote_is_not_good_enough(lanes: list[Lane]) -> None:
    members = [lane for lane in lanes if names([lane]) == "a"]

    assert len(adapted(members, lanes, 0.75, 0.5)) == 2
    assert adapted(lanes, lanes, 0.99, 0.5) == lanes, "nobody is left to add"


def test_every_member_runs_and_the_vote_is_what_counts(build: Any) -> None:
    slo = Slo(latency_ms=1000.0, min_accuracy=0.85)
    models = {name: (0.8, {1: ms}) for name, ms in (("a", 10.0), ("b", 20.0), ("c", 30.0))}
    catalogue = build(models, "box", slo=slo)
    policy = Cocktail(catalogue, copies=2, alike=0.0)
    streams = [Stream("t", slo, np.array([1.0, 2.0]))]

    outcome = simulate(catalogue, streams, policy, seconds=3.0, seed=0, hardware=platform(policy, Hardware()))

    judged = policy.judged(outcome)
    assert judged.accuracy.tolist() == pytest.approx([0.896, 0.896])
    assert outcome.accuracy.tolist() == [0.8, 0.8]
    assert judged.latency_ms[1] >= 30.0, "the slowest member's"


def test_members_are_fast_enough_within_a_margin(build: Any, ask: Any) -> None:
    models = {"a": (0.8, {1: 109.0}), "b": (0.9, {1: 111.0})}
    policy = Cocktail(build(models, "box"), copies=1)

    begun = list(policy.arrive(ask(0.0, Slo(latency_ms=100.0)), 0.0))

    assert names(policy.members["t"]) == "a"
    assert not any(isinstance(action, Invoke) for action in begun), "it is dropped, as even alone it is late"
