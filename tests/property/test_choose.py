"""What holds of every decision, over random catalogues, fleets and requests."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from random import Random

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from benchmarks import reference, synthetic
from registry.catalogue import Catalogue
from registry.model import Estimate, Objective, Slo
from scheduler.choose import choose
from scheduler.decision import Decision
from scheduler.fleet import Fleet
from scheduler.requests import Request

often = settings(max_examples=100, suppress_health_check=[HealthCheck.filter_too_much])
"""A world is made when first met, which takes longer than an example should."""


@cache
def catalogue_of(seed: int) -> Catalogue:
    """One task on all tiers, with a few placements that were never measured or measured at one size only."""
    catalogue = synthetic.catalogue(30, seed)
    single, never = Random(seed).sample(sorted(catalogue.profiles), 8)[:4], sorted(catalogue.profiles)[seed::11]
    profiles = {id_: p for id_, p in catalogue.profiles.items() if id_ not in never}
    bare = (
        Catalogue.empty()
        .with_tasks(*catalogue.tasks.values())
        .with_tiers(*catalogue.tiers.values())
        .with_variants(*catalogue.variants.values())
        .with_placements(*catalogue.placements.values())
    )
    return bare.with_profiles(
        *(replace(p, service=p.service[:1]) if id_ in single else p for id_, p in profiles.items())
    )


@cache
def fleet_of(seed: int, steps: int) -> tuple[Fleet, float]:
    random = Random(seed * 1000 + steps)
    fleet, now = synthetic.after(Fleet.empty(catalogue_of(seed)), steps, random)
    return synthetic.lived(fleet, random.choice((0, 0, 1, 60, 400)), random, now)


worlds = st.tuples(st.integers(0, 5), st.integers(0, 60).map(lambda n: 3 * n))
slos = st.builds(
    Slo,
    latency_ms=st.none() | st.floats(0.5, 2000.0),
    percentile=st.sampled_from((1.0, 50.0, 90.0, 95.0, 99.0, 99.9)) | st.floats(1.0, 99.9),
    min_accuracy=st.none() | st.floats(0.0, 1.0),
    max_cost_usd=st.none() | st.floats(0.0, 1e-3),
    objective=st.sampled_from(Objective),
)
requests = st.builds(
    Request,
    task=st.just(synthetic.TASK),
    slo=slos,
    rows=st.integers(1, 70),
    elapsed_ms=st.just(0.0) | st.floats(0.0, 100.0),
)


def decide(world: tuple[int, int], request: Request) -> Decision:
    fleet, now = fleet_of(*world)
    return choose(request, catalogue_of(world[0]), fleet, now)


def breaks(estimate: Estimate, slo: Slo) -> set[str]:
    found = set()
    if slo.latency_ms is not None and estimate.latency_ms > slo.latency_ms:
        found.add("latency_ms")
    if slo.min_accuracy is not None and estimate.accuracy < slo.min_accuracy:
        found.add("min_accuracy")
    if slo.max_cost_usd is not None and estimate.cost_usd > slo.max_cost_usd:
        found.add("max_cost_usd")
    return found


def value(estimate: Estimate, slo: Slo) -> float:
    """What the objective maximises."""
    return {
        Objective.ACCURACY: estimate.effective_accuracy,
        Objective.COST: -estimate.cost_usd,
        Objective.LATENCY: -estimate.latency_ms,
    }[slo.objective]


@often
@given(worlds, requests)
def test_a_feasible_choice_breaks_no_bound_and_none_holds_more(world: tuple[int, int], request: Request) -> None:
    decision = decide(world, request)
    held = [e for e in decision.ranked if not breaks(e, request.slo)]
    assert decision.feasible == bool(held)
    if decision.feasible:
        first = decision.ranked[0]
        assert breaks(first, request.slo) == set()
        assert value(first, request.slo) == pytest.approx(max(value(e, request.slo) for e in held), rel=1e-12)
        assert decision.broken == ()


@often
@given(worlds, requests)
def test_broken_bounds_are_named_truthfully(world: tuple[int, int], request: Request) -> None:
    decision = decide(world, request)
    for estimate in decision.ranked:
        assert set(estimate.broken) == breaks(estimate, request.slo)
    if decision.ranked:
        assert decision.broken == decision.ranked[0].broken
        assert decision.feasible == (not decision.broken)


@often
@given(worlds, requests)
def test_the_ranking_is_whole_ordered_and_repeatable(world: tuple[int, int], request: Request) -> None:
    decision, again = decide(world, request), decide(world, request)
    ids = [e.placement.id for e in decision.ranked]
    assert len(ids) == len(set(ids)) == len(decision.ranked)
    if ids:
        assert decision.ranked[0] == again.ranked[0] == list(again.ranked)[0]  # noqa: RUF015
    assert list(decision.ranked) == list(again.ranked)
    assert sorted(map(bool, (e.broken for e in decision.ranked))) == [bool(e.broken) for e in decision.ranked]


@often
@given(worlds, requests)
def test_every_placement_is_chosen_or_has_a_reason(world: tuple[int, int], request: Request) -> None:
    decision = decide(world, request)
    reasons = decision.why_not()
    chosen = {decision.ranked[0].placement.id} if decision.ranked else set()
    every = {p.id for p in catalogue_of(world[0]).placements_of(request.task)}
    assert reasons.keys() | chosen == every
    assert not reasons.keys() & chosen
    assert all(reasons.values())
    assert decision.reason


@often
@given(worlds, requests)
def test_the_nearest_slo_is_feasible_and_relaxes_least(world: tuple[int, int], request: Request) -> None:
    decision = decide(world, request)
    assume(not decision.feasible and decision.ranked)
    assert decision.nearest is not None
    assert decide(world, replace(request, slo=decision.nearest)).feasible
    least = min(relaxation(request.slo, e) for e in decision.ranked)
    assert relaxation(request.slo, decision.ranked[0]) == pytest.approx(least, rel=1e-9)
    kept = {"percentile", "objective", "on_infeasible"} | (
        {"latency_ms", "min_accuracy", "max_cost_usd"} - {*decision.broken}
    )
    assert all(getattr(decision.nearest, name) == getattr(request.slo, name) for name in kept)


def relaxation(slo: Slo, estimate: Estimate) -> float:
    total = 0.0
    if slo.latency_ms is not None:
        total += max(0.0, estimate.latency_ms / slo.latency_ms - 1)
    if slo.min_accuracy is not None:
        total += max(0.0, slo.min_accuracy - estimate.accuracy) / max(slo.min_accuracy, 1e-9)
    if slo.max_cost_usd is not None:
        total += max(0.0, estimate.cost_usd - slo.max_cost_usd) / max(slo.max_cost_usd, 1e-9)
    return total


@often
@given(worlds, requests, st.floats(1.0, 10.0))
def test_a_looser_deadline_never_costs_more(world: tuple[int, int], request: Request, factor: float) -> None:
    assume(request.slo.latency_ms is not None)
    slo = replace(request.slo, objective=Objective.COST)
    tight = decide(world, replace(request, slo=slo))
    assume(tight.feasible)
    loose = decide(world, replace(request, slo=replace(slo, latency_ms=slo.latency_ms * factor)))
    assert loose.feasible
    assert loose.ranked[0].cost_usd <= tight.ranked[0].cost_usd


@often
@given(worlds, requests, st.floats(1.0, 10.0), st.floats(0.0, 1.0), st.floats(1.0, 10.0))
def test_looser_bounds_never_lower_the_objective(
    world: tuple[int, int], request: Request, slower: float, lower: float, dearer: float
) -> None:
    slo, tight = request.slo, decide(world, request)
    assume(tight.feasible)
    looser = replace(
        slo,
        latency_ms=slo.latency_ms and slo.latency_ms * slower,
        min_accuracy=slo.min_accuracy and slo.min_accuracy * lower,
        max_cost_usd=slo.max_cost_usd and slo.max_cost_usd * dearer,
    )
    loose = decide(world, replace(request, slo=looser))
    assert loose.feasible
    assert value(loose.ranked[0], slo) >= value(tight.ranked[0], slo) * (
        1 - math.copysign(1e-12, value(tight.ranked[0], slo))
    )


@often
@given(worlds, requests)
def test_decisions_are_those_of_the_rules_in_plain_python(world: tuple[int, int], request: Request) -> None:
    fleet, now = fleet_of(*world)
    decision, expected = decide(world, request), reference.rank(request, catalogue_of(world[0]), fleet, now)
    assert len(decision.ranked) == len(expected)
    by_id = {e.id: e for e in expected}
    for estimate in decision.ranked:
        theirs = by_id[estimate.placement.id]
        assert estimate.latency_ms == pytest.approx(theirs.latency_ms, rel=1e-9)
        assert estimate.cost_usd == pytest.approx(theirs.cost_usd, rel=1e-9)
        assert (estimate.cold, estimate.load) == (theirs.cold, theirs.load)
    if expected:
        chosen = by_id[decision.ranked[0].placement.id]
        assert (chosen.excess, chosen.value) == pytest.approx((expected[0].excess, expected[0].value), rel=1e-9)


@often
@given(worlds, requests)
def test_deciding_changes_nothing(world: tuple[int, int], request: Request) -> None:
    fleet, _ = fleet_of(*world)
    before = fleet.columns.refused_until.copy(), fleet.columns.resident_until.copy(), fleet.tiers
    list(decide(world, request).ranked)
    assert (fleet.columns.refused_until == before[0]).all()
    assert (fleet.columns.resident_until == before[1]).all()
    assert fleet.tiers is before[2]
