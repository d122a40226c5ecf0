"""The fifty tasks: what each has, and what its bounds mean on Lambda."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import portfolio
from benchmarks.policies import OVERHEAD_MS
from benchmarks.vision import INIT_MS
from registry.model import LEVELS, StartMode
from registry.prices import lambda_tiers


def test_fifty_tasks_of_two_families_have_three_or_four_models_and_all_bounds() -> None:
    apps = portfolio.applications()

    assert len({app.task.name for app in apps}) == portfolio.TASKS == 50
    assert {app.task.name.split("-")[0] for app in apps} == {"image", "text"}
    assert {len(app.models) for app in apps} == {3, 4}
    assert {(app.slo.latency_ms, app.slo.min_accuracy) for app in apps} == {
        (bound, floor) for bound in portfolio.BOUNDS_MS for floor in (0.75, 0.92)
    }


def test_every_task_can_be_done_warm_and_none_after_a_start_on_demand() -> None:
    (small, *_) = lambda_tiers()
    apps = portfolio.applications()
    made = portfolio.catalogue(portfolio.everywhere(apps, [small]))

    assert small.start_mode is StartMode.ONDEMAND
    for app in apps:
        profiles = [made.profiles[placement.id] for placement in made.placements_of(app.task.name)]
        warm_ms = min(float(np.interp(0.95, LEVELS, profile.service[0].latency.ms)) for profile in profiles)
        assert warm_ms + OVERHEAD_MS < app.slo.latency_ms < INIT_MS[StartMode.ONDEMAND]


def test_a_catalogue_has_what_is_placed_and_nothing_else() -> None:
    first, second, *_ = portfolio.applications(4)
    one, two, *_ = lambda_tiers()
    made = portfolio.catalogue([(first, first.models[0], one), (second, second.models[1], two)])

    assert (
        set(made.placements)
        == set(made.profiles)
        == {
            f"{first.task.name}/{first.models[0].name}@{one.name}:{one.threads}",
            f"{second.task.name}/{second.models[1].name}@{two.name}:{two.threads}",
        }
    )
    assert set(made.tiers) == {one.name, two.name}
    accuracy = made.variants[first.variant(first.models[0]).id].accuracy
    assert accuracy.value == pytest.approx(first.models[0].accuracy)
    assert accuracy.rows == first.rows
