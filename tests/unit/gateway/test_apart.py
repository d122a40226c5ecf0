"""Where tenants share no environment, what is warm for one is cold for another; all else is known to all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.apart import ApartSnapshots
from registry.catalogue import Catalogue
from registry.model import Task, TensorSpec, Tier
from registry.prices import lambda_tiers
from scheduler.events import EnvironmentReady, EnvironmentStarting, TierUnavailable

SPEC = (TensorSpec("x", "FP32", (-1,)),)
TIER: Tier = next(tier for tier in lambda_tiers() if tier.name == "lambda-3538")


@pytest.fixture
def snapshots() -> ApartSnapshots:
    task = Task("ours", SPEC, SPEC, "accuracy", owner="acme")
    tasks = (task, replace(task, name="theirs", owner="globex"), replace(task, name="all", owner="public"))
    made = ApartSnapshots(Catalogue.empty().with_tasks(*tasks).with_tiers(TIER))
    for name, resident in (("a", ("ours/v",)), ("b", ("theirs/v",)), ("c", ()), ("d", ("all/v",))):
        made.emit(EnvironmentStarting(TIER.name, name, 1.0))
        made.emit(EnvironmentReady(TIER.name, name, resident, 1.0))
    return made


def seen(snapshots: ApartSnapshots, task: str) -> set[str]:
    _, fleet = snapshots.view_for(task)
    return {name for state in fleet.tiers for name in state.environments}


def test_a_task_sees_its_owners_environments_alone(snapshots: ApartSnapshots) -> None:
    assert seen(snapshots, "ours") == {"a"}
    assert seen(snapshots, "theirs") == {"b"}
    assert seen(snapshots, "all") == {"d"}
    assert seen(snapshots, "nothing") == set()


def test_looking_takes_nothing_away(snapshots: ApartSnapshots) -> None:
    seen(snapshots, "ours")

    _, fleet = snapshots.view()
    assert {name for state in fleet.tiers for name in state.environments} == {"a", "b", "c", "d"}


def test_what_is_no_environments_is_known_to_all(snapshots: ApartSnapshots) -> None:
    snapshots.emit(TierUnavailable(TIER.name, "throttled", 9.0, 2.0))

    for task in ("ours", "theirs"):
        _, fleet = snapshots.view_for(task)
        assert [state.unavailable_until for state in fleet.tiers] == [9.0]
