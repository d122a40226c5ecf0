"""The platform's own scheduler as a policy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from registry.catalogue import Catalogue
from registry.model import (
    LEVELS,
    Accuracy,
    OnInfeasible,
    Placement,
    Price,
    Profile,
    Quantiles,
    Recipe,
    ServiceTime,
    Slo,
    StartMode,
    Task,
    TensorSpec,
    Tier,
    TierKind,
    Variant,
)
from scheduler.actions import Warm
from simulator.policies.modelless import Modelless
from simulator.simulation import Stream, simulate


def flat(ms: float) -> Quantiles:
    return Quantiles((ms,) * len(LEVELS), ms)


def tier(name: str, concurrency: int, kind: TierKind = TierKind.LAMBDA, **changes) -> Tier:
    return Tier(name, kind, 1.0, 1024, concurrency, StartMode.ONDEMAND, Price(1.0), 100.0, **changes)


@pytest.fixture
def catalogue():
    """Makes a catalogue in which `good` takes 40 ms and `fair` 10, wherever they run."""

    def make(*tiers: Tier) -> Catalogue:
        spec = TensorSpec("x", "FP32", (-1, 4))
        made = Catalogue.empty().with_tiers(*tiers).with_tasks(Task("t", (spec,), (spec,), "accuracy"))
        for number, (name, value, ms) in enumerate((("fair", 0.8, 10.0), ("good", 0.9, 40.0))):
            accuracy = Accuracy(value, value, value, 100, "wilson")
            made = made.with_variants(Variant("t", name, f"blake3:{number:064x}", Recipe("x"), accuracy))
            for where in tiers:
                placement = Placement(f"t/{name}", where.name)
                service = (ServiceTime(1, flat(ms), ms), ServiceTime(2, flat(2 * ms), 2 * ms))
                profile = Profile(placement.id, service, flat(50.0), flat(200.0), 10.0, "x", "none", 9, "now")
                made = made.with_placements(placement).with_profiles(profile)
        return made

    return make


def play(catalogue, times, slo, **options):
    policy = Modelless(catalogue, **options)
    return simulate(catalogue, [Stream("t", slo, np.array(times))], policy, seconds=1000.0, seed=0), policy


def test_the_best_that_holds_the_bounds_is_asked(catalogue) -> None:
    outcome, policy = play(catalogue(tier("a", 4)), [1.0, 2.0, 3.0], Slo())
    assert outcome.accuracy.tolist() == [0.9] * 3
    assert outcome.latency_ms.tolist() == pytest.approx([290.0, 40.0, 40.0])
    assert policy.fleet.tier("a").outstanding == {}
    assert policy.fleet.idle_with("t/good@a:1") == 1


def test_what_a_full_tier_refuses_is_tried_on_the_next(catalogue) -> None:
    facts = catalogue(tier("a", 1), tier("b", 3, TierKind.PROCESS))
    outcome, policy = play(facts, [1.0, 1.001, 1.002, 1.003], Slo())
    assert np.isfinite(outcome.latency_ms).all()
    assert policy.fleet.tier("a").outstanding == policy.fleet.tier("b").outstanding == {}


def test_a_strict_request_that_nothing_holds_is_refused(catalogue) -> None:
    strict = Slo(latency_ms=100.0, on_infeasible=OnInfeasible.STRICT)
    outcome, _ = play(catalogue(tier("a", 1)), [1.0], strict)
    assert outcome.rejected.tolist() == [True]
    assert outcome.dollars.total == 0.0


def test_a_strict_request_is_given_up_at_its_deadline(catalogue) -> None:
    facts = catalogue(tier("a", 1, TierKind.PROCESS))
    strict = Slo(latency_ms=55.0, percentile=1.0, on_infeasible=OnInfeasible.STRICT)
    warm = Stream("t", Slo(), np.array([1.0]))
    burst = Stream("t", strict, 2.0 + 0.0131 * np.arange(30))
    policy = Modelless(facts)
    outcome = simulate(facts, [warm, burst], policy, seconds=1000.0, seed=0)
    late = outcome.rejected[1:]
    assert 0 < late.sum() < 30
    assert outcome.latency_ms[1:][~late].max() <= 55.0 + 1e-6
    assert policy.fleet.tier("a").outstanding == {}
    assert policy.wake_at() == math.inf or policy.wake_at() > 2.0


def test_capacity_is_decided_every_period(catalogue) -> None:
    facts, seen = catalogue(tier("a", 4)), []

    def capacity(known, fleet, now):
        assert known is facts
        seen.append((now, fleet.idle_with("t/good@a:1")))
        return [Warm(facts.placements["t/good@a:1"], "it may be wanted")] if now == 0.0 else []

    outcome, _ = play(facts, [301.0], Slo(), capacity=capacity, period_s=90.0)
    assert outcome.cold.tolist() == [True]  # the warm one had expired
    assert seen[:2] == [(0.0, 0), (90.0, 1)]
    assert play(facts, [51.0], Slo(), capacity=capacity)[0].cold.tolist() == [False]
