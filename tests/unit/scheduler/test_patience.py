"""How long a request is worth an answer, and when it is worth none."""

from __future__ import annotations

import pytest

from registry.model import Objective, OnInfeasible, Slo
from scheduler.choose import choose
from scheduler.events import EnvironmentBusy, EnvironmentReady, Queued
from scheduler.fleet import Fleet
from scheduler.patience import TurnedAway, budget_ms, deadline_of, floor_of, turned_away
from scheduler.requests import Request

STRICT = OnInfeasible.STRICT


def test_only_a_strict_bound_is_a_deadline() -> None:
    assert deadline_of(Slo(latency_ms=50.0), 10.0, 30.0) == 40.0
    assert deadline_of(Slo(latency_ms=50.0, on_infeasible=STRICT), 10.0, 30.0) == 10.05
    assert deadline_of(Slo(latency_ms=50_000.0, on_infeasible=STRICT), 10.0, 30.0) == 40.0


def test_another_variant_may_answer_only_where_nothing_else_was_asked() -> None:
    given = {"latency_ms": 50.0, "min_accuracy": 0.8, "on_infeasible": STRICT}
    assert floor_of(Slo(**given)) == 0.8
    for change in ({"on_infeasible": OnInfeasible.BEST_EFFORT}, {"objective": Objective.COST}, {"max_cost_usd": 1.0}):
        assert floor_of(Slo(**{**given, **change})) is None


def decided(catalogue, fleet, *, rows=1, now=0.0, **slo):
    return choose(Request("t", Slo(**slo), rows, elapsed_ms=5.0), catalogue, fleet, now)


def test_a_budget_is_the_bound_or_the_tiers_timeout_less_what_has_passed(build, spec) -> None:
    catalogue = build(spec("a"))
    for slo, budget in (({"latency_ms": 100.0}, 95.0), ({}, 29_995.0)):
        decision = decided(catalogue, Fleet.empty(catalogue), **slo)
        assert budget_ms(decision.ranked[0], decision.request, catalogue) == budget


def test_why_a_request_is_turned_away(build, spec) -> None:
    catalogue = build(spec("a"))
    fleet = Fleet.empty(catalogue)
    for number in range(2):
        for event in (EnvironmentReady("cpu", f"e{number}", ("t/a",), 0.0), EnvironmentBusy("cpu", f"e{number}", 0.0)):
            fleet = fleet.apply(event)
    for number in range(60):
        fleet = fleet.apply(Queued("t/a@cpu:1", str(number), 10.0, 0.0))
    assert turned_away(decided(catalogue, fleet, latency_ms=1000.0), catalogue) is None
    assert turned_away(decided(catalogue, fleet, latency_ms=100.0), catalogue) is TurnedAway.OVERLOADED
    assert turned_away(decided(catalogue, fleet, rows=65), catalogue) is TurnedAway.NOTHING
    empty = Fleet.empty(catalogue)
    assert turned_away(decided(catalogue, empty, latency_ms=8.0), catalogue) is None
    strict = decided(catalogue, empty, latency_ms=8.0, on_infeasible=STRICT)
    assert turned_away(strict, catalogue) is TurnedAway.INFEASIBLE


@pytest.mark.parametrize("why", TurnedAway)
def test_every_reason_says_something(why: TurnedAway) -> None:
    assert " " in str(why)
