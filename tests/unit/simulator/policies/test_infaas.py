"""INFaaS: its selection, and its three scalers on loads worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from registry.model import Slo
from simulator.policies.infaas import (
    IDLE_TICKS,
    VOTES,
    Infaas,
    InfaasIndividual,
    InfaasStatic,
    workers,
)
from simulator.policies.pools import Lane
from simulator.policy import Invoke, Job, Reject


def lane_of(policy: Infaas, variant: str) -> Lane:
    return next(lane for lane in policy.lanes_of("t") if lane.option.placement.variant == f"t/{variant}")


def opened(policy: Infaas, **units: int) -> Infaas:
    policy.meet_all()
    for variant, n in units.items():
        lane_of(policy, variant).units = n
    return policy


def loaded(policy: Infaas, variant: str, rate: int) -> None:
    """So many requests a second in the two seconds before 2."""
    for second in (0.0, 1.0):
        lane_of(policy, variant).rate.add(second, rate)


def units(policy: Infaas) -> dict[str, int]:
    return {lane.option.placement.variant[2:]: lane.units for lane in policy.lanes_of("t")}


MODELS = {"slow": (0.9, {1: 200.0}, {}, 100.0), "fast": (0.7, {1: 20.0}, {}, 100.0)}
"""5 and 50 a second for each replica."""


def test_the_first_request_loads_what_is_there_soonest(build: Any, ask: Any) -> None:
    policy = Infaas(build({"slow": (0.9, {1: 50.0}, {}, 20.0), "fast": (0.7, {1: 20.0}, {}, 100.0)}, "box"))
    job = ask(0.0)

    actions = list(policy.arrive(job, 0.0))

    assert actions == [Invoke(lane_of(policy, "slow").option.placement, (job,))], "70 ms, and not 120"


def test_what_is_loaded_is_preferred_and_of_that_the_least_loaded(build: Any, ask: Any) -> None:
    policy = opened(Infaas(build(MODELS, "box")), slow=1)
    job: Job = ask(0.0)
    assert policy.route(job, 0.0) is lane_of(policy, "slow")

    lane_of(policy, "fast").units = 1
    lane_of(policy, "slow").running = 1

    assert policy.route(job, 0.0) is lane_of(policy, "fast")


def test_an_overloaded_variant_is_avoided(build: Any, ask: Any) -> None:
    policy = opened(Infaas(build(MODELS, "box")), slow=1, fast=1)
    loaded(policy, "slow", 5)
    lane_of(policy, "fast").running = 1

    assert policy.route(ask(2.0), 2.0) is lane_of(policy, "fast"), "though it is the more loaded"


def test_bounds_are_held_or_missed_by_the_least(build: Any, ask: Any) -> None:
    policy = Infaas(build(MODELS, "box"))
    policy.meet_all()

    assert policy.route(ask(0.0, Slo(latency_ms=10.0, min_accuracy=0.8)), 0.0) is lane_of(policy, "slow")
    job = ask(0.0, Slo(min_accuracy=0.95))
    assert isinstance(next(iter(policy.arrive(job, 0.0))), Reject)


@pytest.mark.parametrize(("rate", "replicas"), [(4, 1), (5, 2), (9, 2), (14, 3)])
def test_individual_adds_what_is_missing_of_95_percent(build: Any, rate: int, replicas: int) -> None:
    policy = opened(InfaasIndividual(build(MODELS, "box")), slow=1)
    loaded(policy, "slow", rate)

    policy.scale("t", 2.0)

    # (rate - 0.95 x 5) / 5, rounded up, on top of the one.
    assert units(policy) == {"slow": replicas, "fast": 0}


def test_a_gpu_counts_its_load_and_is_filled_to_the_brim(build: Any) -> None:
    policy = opened(InfaasIndividual(build({"a": (0.9, {1: 100.0}, {}, 1000.0)}, "gpu")), a=1)
    loaded(policy, "a", 9)

    policy.scale("t", 2.0)

    assert units(policy) == {"a": 2}, "9 - 10 + 0.0002 x 10 x 1000 = 1 is missing"


def test_static_keeps_two_of_what_runs(build: Any) -> None:
    policy = opened(InfaasStatic(build(MODELS, "box")), slow=1)

    policy.scale("t", 2.0)

    assert units(policy) == {"slow": 2, "fast": 0}


@pytest.mark.parametrize(("load_ms", "chosen"), [(66.0, {"slow": 1, "fast": 1}), (67.0, {"slow": 2, "fast": 0})])
def test_upgrade_where_scaling_out_costs_more_than_half_as_much_again(
    build: Any, load_ms: float, chosen: dict[str, int]
) -> None:
    models = {"slow": (0.9, {1: 200.0}, {}, 100.0), "fast": (0.7, {1: 20.0}, {}, load_ms)}
    policy = opened(Infaas(build(models, "box")), slow=1)
    loaded(policy, "slow", 9)

    policy.scale("t", 2.0)

    # One more `slow` costs 100, one `fast` its load: 100 > 1.5 x 66, but not > 1.5 x 67.
    assert units(policy) == chosen


def test_beyond_two_replicas_an_upgrade_is_always_preferred(build: Any) -> None:
    models = {"slow": (0.9, {1: 200.0}, {}, 100.0), "fast": (0.7, {1: 20.0}, {}, 5000.0)}
    policy = opened(Infaas(build(models, "box")), slow=2)
    loaded(policy, "slow", 12)

    policy.scale("t", 2.0)

    assert units(policy) == {"slow": 2, "fast": 1}


def test_a_replica_goes_after_ten_votes_in_a_row(build: Any) -> None:
    policy = opened(Infaas(build(MODELS, "box")), slow=2)

    for second in range(VOTES[lane_of(policy, "slow").option.tier.kind] - 1):
        policy.scale("t", float(second))
    assert units(policy)["slow"] == 2
    loaded(policy, "slow", 6)
    policy.scale("t", 2.0)  # one replica would not do: the votes are forgotten
    for second in range(9):
        policy.scale("t", 100.0 + second)
    assert units(policy)["slow"] == 2
    policy.scale("t", 200.0)
    assert units(policy)["slow"] == 1


def test_workers_follow_replicas_beyond_80_percent_and_idle_ones_stay_for_thirty_periods(build: Any) -> None:
    policy = opened(InfaasStatic(build(MODELS, "box")))
    box = policy.catalogue.tiers["box"]
    assert [workers(box, n) for n in (0, 1, 2, 3, 4)] == [0, 1, 1, 2, 3]

    lane_of(policy, "slow").units = 2
    lane_of(policy, "fast").units = 2
    policy.tick(0.0)
    assert policy.copies(box, 0) == 3
    for lane in policy.lanes_of("t"):
        lane.units = 0
    for second in range(IDLE_TICKS - 1):
        policy.tick(1.0 + second)
    assert policy.copies(box, 0) == 3
    policy.tick(60.0)
    assert policy.copies(box, 0) == 1, "never fewer than at the beginning"
