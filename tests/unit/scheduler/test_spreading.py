"""Requests are spread over tiers that are alike and no others; benchmarks.herding says what for."""

from __future__ import annotations

from collections import Counter

import pytest

from registry.model import Objective, Slo
from scheduler.choose import choose
from scheduler.events import EnvironmentReady, EnvironmentStarting
from scheduler.fleet import Fleet
from scheduler.requests import Request

ANY = Slo()
DRAWN = [i / 60 for i in range(60)]


def warm(catalogue, *tiers, variant="t/v"):
    fleet = Fleet.empty(catalogue)
    for tier in tiers or sorted(catalogue.tiers):
        fleet = fleet.apply(EnvironmentStarting(tier, f"{tier}-1", 0.0))
        fleet = fleet.apply(EnvironmentReady(tier, f"{tier}-1", (variant,), 0.0))
    return fleet


def firsts(catalogue, fleet, slo=ANY, drawn=DRAWN):
    """How often each placement is first."""
    return Counter(
        choose(Request("t", slo, uniform=uniform), catalogue, fleet, 1.0).ranked[0].placement.tier for uniform in drawn
    )


@pytest.mark.parametrize("objective", Objective)
def test_tiers_that_are_alike_are_chosen_alike(build, spec, tier, objective) -> None:
    catalogue = build(*(spec("v", name) for name in "abc"), tiers=[tier(name) for name in "abc"])
    assert firsts(catalogue, warm(catalogue), Slo(objective=objective)) == {"a": 20, "b": 20, "c": 20}


def test_a_request_that_brings_no_number_takes_the_first_by_id(build, spec, tier) -> None:
    catalogue = build(*(spec("v", name) for name in "abc"), tiers=[tier(name) for name in "abc"])
    assert firsts(catalogue, warm(catalogue), drawn=[None] * 5) == {"a": 5}


def test_nothing_is_given_up_for_it(build, spec, tier, flat) -> None:
    """What is less accurate, slower or dearer is no choice, however near; nor is a tier that must load first."""
    tiers = [tier(name) for name in "abcde"]
    catalogue = build(
        spec("v", "a"),
        spec("v", "b"),
        spec("v", "c", service={1: flat(10.6), 2: flat(21.0)}),
        spec("w", "d", accuracy=0.899),
        spec("v", "e", load=flat(1.0)),
        tiers=tiers,
    )
    assert set(firsts(catalogue, warm(catalogue, *"abcd"))) == {"a", "b"}


def test_of_two_the_faster_is_taken(build, spec, tier, flat) -> None:
    catalogue = build(
        spec("v", "a"),
        spec("v", "b"),
        spec("v", "c", service={1: flat(9.95), 2: flat(20.0)}),
        tiers=[tier(name) for name in "abc"],
    )
    chosen = firsts(catalogue, warm(catalogue), Slo(objective=Objective.LATENCY))
    assert chosen == {"a": 10, "b": 10, "c": 40}


def test_the_others_follow_in_their_order(build, spec, tier) -> None:
    catalogue = build(
        *(spec("v", name) for name in "abc"), spec("w", "a", accuracy=0.5), tiers=[tier(n) for n in "abc"]
    )
    ranked = choose(Request("t", Slo(), uniform=0.99), catalogue, warm(catalogue), 1.0).ranked
    order = [estimate.placement.tier for estimate in ranked]
    first = order[0]
    assert first != "a"
    assert order[1:3] == [name for name in "abc" if name != first]
    assert ranked[0] is next(iter(ranked))
    assert ranked[3].placement.variant == "t/w"
    assert len(set(ranked)) == 4
