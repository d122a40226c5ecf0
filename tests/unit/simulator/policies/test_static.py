"""The two fixed choices."""

from __future__ import annotations

from typing import Any

from registry.model import Slo
from simulator.policies.static import StaticBest, StaticCheapest
from simulator.policies.tracking import UNANSWERABLE
from simulator.policy import Invoke, Reject

MODELS = {"good": (0.9, {1: 800.0}, {"large": {1: 400.0}}), "fair": (0.7, {1: 100.0}, {"large": {1: 60.0}})}


def test_the_best_runs_on_the_largest_function_whatever_the_bound(build: Any, ask: Any) -> None:
    catalogue = build(MODELS, "small", "large", "box")
    job = ask(0.0, Slo(latency_ms=1.0))

    (invoke,) = StaticBest(catalogue).arrive(job, 0.0)

    assert invoke == Invoke(catalogue.placements["t/good@large:1"], (job,))


def test_the_cheapest_holds_the_bounds_when_warm(build: Any, ask: Any) -> None:
    catalogue = build(MODELS, "small", "large", "box")
    policy = StaticCheapest(catalogue)

    chosen = {}
    for name, slo in {
        "loose": Slo(latency_ms=1000.0),  # 0.1 s x 0.01 is less than 0.06 s x 0.02
        "tight": Slo(latency_ms=80.0),
        "accurate": Slo(latency_ms=1000.0, min_accuracy=0.8),  # 0.8 s x 0.01 and 0.4 s x 0.02 cost the same
        "hopeless": Slo(latency_ms=1.0),
    }.items():
        (invoke,) = policy.arrive(ask(0.0, slo), 0.0)
        assert isinstance(invoke, Invoke)
        chosen[name] = invoke.placement.id

    assert chosen == {
        "loose": "t/fair@small:1",
        "tight": "t/fair@large:1",
        "accurate": "t/good@large:1",
        "hopeless": "t/fair@large:1",
    }


def test_nothing_runs_where_there_is_no_function(build: Any, ask: Any) -> None:
    job = ask(0.0)

    assert list(StaticBest(build(MODELS, "box")).arrive(job, 0.0)) == [Reject(job, UNANSWERABLE)]
