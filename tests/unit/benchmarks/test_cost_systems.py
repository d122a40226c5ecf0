"""How each system is deployed: the least that holds the SLOs, and no less."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import cost_systems
from benchmarks.portfolio import Application, applications
from registry.model import StartMode
from registry.prices import container_price, lambda_tiers
from scheduler.actions import Warm
from scheduler.keeping import MEMORY_SHARE
from simulator.policies.capacity import Budget
from simulator.simulation import Stream, simulate

APPS = applications(6)


def streams(apps: tuple[Application, ...] = APPS, *, busiest: int = 1) -> list[Stream]:
    """One minute with so many requests for each task, and another one an hour later."""
    minute = np.arange(busiest) * 60.0 / busiest
    return [Stream(app.task.name, app.slo, np.append(minute, 3_600.0)) for app in apps]


def test_the_busiest_minute_counts() -> None:
    assert cost_systems.busiest(np.array([0.0, 59.0, 61.0])) == pytest.approx(2 / 60)
    assert cost_systems.busiest(np.empty(0)) == 0.0


def test_an_endpoint_of_its_own_is_the_smallest_that_holds_the_slo() -> None:
    system = cost_systems.per_model(APPS, streams())

    assert len(system.catalogue.tiers) == len(system.catalogue.placements) == len(APPS)
    sizes = {tier.name: tier.vcpus for tier in system.catalogue.tiers.values()}
    # 33 ms of one core are 132 ms of a quarter of one, and 155 ms at the 95th percentile: more than 150 ms.
    assert sizes["endpoint-text-03"] == 0.5
    assert sizes["endpoint-image-04"] == 0.25
    outcome = simulate(
        system.catalogue,
        streams(),
        policy := system.policy(),
        seconds=7_200.0,
        seed=0,
        hardware=system.platform(policy),
    )
    assert outcome.timely()[len(APPS) :].all()
    usd_per_s = sum(container_price(t.vcpus, t.memory_mb).usd_per_idle_s for t in system.catalogue.tiers.values())
    assert outcome.dollars.total == outcome.dollars.idle == pytest.approx(7_200 * usd_per_s)


def test_an_endpoint_grows_with_its_busiest_minute() -> None:
    calm, busy = (cost_systems.per_model(APPS, streams(busiest=count)) for count in (1, 2_000))

    def usd_per_s(system: cost_systems.System) -> float:
        copies = system.platform(system.policy()).provisioned
        return sum(tier.price.usd_per_idle_s * copies[tier.name] for tier in system.catalogue.tiers.values())

    assert usd_per_s(busy) > 2 * usd_per_s(calm)


def test_what_is_always_on_is_loaded_before_it_is_asked() -> None:
    policy = cost_systems.per_model(APPS, streams()).policy()

    warm = [action for action in policy.tick(0.0) if isinstance(action, Warm)]
    assert {action.placement.task for action in warm} == {app.task.name for app in APPS}


def test_a_shared_endpoint_holds_every_variant_that_may_answer() -> None:
    system = cost_systems.shared(APPS, streams())

    (tier,) = system.catalogue.tiers.values()
    assert {placement.task for placement in system.catalogue.placements.values()} == {app.task.name for app in APPS}
    assert sum(p.memory_mb for p in system.catalogue.profiles.values()) <= tier.memory_mb * MEMORY_SHARE
    assert all(v.accuracy.value >= 0.75 for v in system.catalogue.variants.values())


def test_functions_are_one_a_task_and_provisioned_ones_start_loaded() -> None:
    plain, provisioned = (
        sized(APPS, streams()) for sized in (cost_systems.lambda_per_model, cost_systems.lambda_provisioned)
    )

    assert set(plain.catalogue.tiers) == {f"function-{app.task.name}" for app in APPS}
    shares = []
    for system in (plain, provisioned):
        policy = system.policy()
        late = [Stream(s.task, s.slo, s.times + 60.0) for s in streams()]
        outcome = simulate(system.catalogue, late, policy, seconds=4_000.0, seed=0, hardware=system.platform(policy))
        shares.append((outcome.cold.mean(), outcome.loaded.mean(), outcome.dollars.idle > 0))
    assert shares[0][0] >= 0.5
    assert shares[1] == (0.0, 0.0, True)


def test_ours_shares_its_functions_and_pays_for_its_snapshots() -> None:
    tiers = lambda_tiers()
    system = cost_systems.modelless(APPS, streams(), Budget(0.05), tiers)

    assert system.routed
    assert set(system.catalogue.tiers) == {tier.name for tier in tiers}
    for tier in tiers:
        held = system.hardware.snapshots.get(tier.name, ())
        assert (len(held) == len(APPS)) == (tier.start_mode is StartMode.SNAPSTART)


def test_a_snapshot_leaves_out_what_does_not_fit() -> None:
    apps = applications()
    held = cost_systems.snapshot(apps, next(tier for tier in lambda_tiers() if tier.memory_mb == 1769))

    assert 0 < len(held) < len(apps)
