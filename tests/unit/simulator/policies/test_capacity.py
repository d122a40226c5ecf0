"""Our scheduler with a budget keeps warm what it has learnt to expect, and never more than the budget pays for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from registry.catalogue import Catalogue
from registry.model import Slo
from scheduler.actions import Warm
from scheduler.fleet import Fleet
from scheduler.requests import Request
from simulator.policies.capacity import Budget, Planner, Prewarming
from simulator.policies.modelless import Modelless
from simulator.policy import Job
from simulator.simulation import Stream, simulate

HOURLY = 0.05


@pytest.fixture
def catalogue(make_catalogue, make_tier) -> Catalogue:
    """One function whose start costs more than its caller's patience; it forgets within two minutes."""
    price = make_tier("a").price
    cheap = type(price)(usd_per_busy_s=1e-5, usd_per_request=1e-7)
    return make_catalogue(make_tier("a", price=cheap, idle_timeout_s=130.0))


def every_five_minutes(hours: float) -> Stream:
    return Stream("t", Slo(latency_ms=100.0), np.arange(30.0, hours * 3600, 300.0))


def test_what_comes_back_is_awaited(catalogue: Catalogue) -> None:
    stream = every_five_minutes(2.0)
    cold = {
        policy: simulate(catalogue, [stream], policy, seconds=2 * 3600.0, seed=1).cold
        for policy in (Modelless(catalogue), Prewarming(catalogue, Budget(HOURLY)))
    }
    without, with_budget = cold.values()
    assert without.all()
    assert with_budget[0]  # nobody could know
    assert not with_budget[-5:].any()


def test_without_a_budget_nothing_is_kept_warm(catalogue: Catalogue) -> None:
    stream = every_five_minutes(1.0)
    outcome = simulate(catalogue, [stream], Prewarming(catalogue, Budget(0.0)), seconds=3600.0, seed=1)
    assert outcome.cold.all()


def test_a_task_that_was_never_asked_for_is_expected_where_an_answer_is_worth_much(catalogue: Catalogue) -> None:
    hasty = catalogue.with_tasks(replace(catalogue.task("t"), default_slo=Slo(latency_ms=100.0)))
    fleet = Fleet.empty(hasty)
    warmed = [
        any(isinstance(action, Warm) for action in Planner(Budget(HOURLY, worth))(hasty, fleet, 0.0))
        for worth in (1e-3, 1.0)
    ]
    assert warmed == [False, True]


def test_a_planner_counts_the_requests_of_its_minutes(catalogue: Catalogue) -> None:
    planner, fleet = Planner(Budget(HOURLY)), Fleet.empty(catalogue)
    assert list(planner(catalogue, fleet, 0.0)) == []
    for minute in range(1, 6):
        for number in range(3):
            planner.arrived(Job(number, Request("t", Slo(latency_ms=100.0)), 60.0 * minute - 1))
        actions = list(planner(catalogue, fleet, 60.0 * minute))
    (warm,) = (action for action in actions if isinstance(action, Warm))
    assert (warm.placement.tier, warm.for_s) == ("a", 60.0)
    assert "within 60 s" in warm.reason
