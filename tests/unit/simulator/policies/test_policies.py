"""The table of policies: every one runs, and none gains more than the oracle says can be gained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from registry.model import OnInfeasible, Slo
from simulator.arrivals import poisson
from simulator.hardware import Hardware
from simulator.oracle import Bound, best, bound, second_usd
from simulator.policies import POLICIES
from simulator.policies.platform import platform
from simulator.simulation import Stream, simulate
from simulator.utility import utility

MODELS = {
    "slow": (0.9, {1: 300.0, 4: 800.0}, {"large": {1: 160.0, 4: 420.0}}),
    "mid": (0.8, {1: 60.0, 4: 150.0}),
    "fast": (0.6, {1: 10.0, 4: 20.0}),
}
SLO = Slo(latency_ms=1000.0, on_infeasible=OnInfeasible.BEST_EFFORT)
VALUE_USD = 0.01


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_serves_and_none_beats_the_oracle(name: str, build: Any) -> None:
    catalogue = build(MODELS, "box", "small", "large", slo=SLO)
    times = np.sort(np.concatenate([poisson(2.0, 90.0, seed=1), 40.0 + poisson(30.0, 3.0, seed=2)]))
    streams = [Stream("t", SLO, times)]
    policy = POLICIES[name](catalogue)

    outcome = simulate(catalogue, streams, policy, seconds=90.0, seed=0, hardware=platform(policy, Hardware()))

    most = bound(catalogue, streams, seconds=90.0, value_usd=VALUE_USD)
    right = float(outcome.accuracy[outcome.timely()].sum())
    assert policy.name == name
    assert outcome.timely().mean() > 0.5
    assert right <= most.right + 1e-9
    assert utility(right, outcome.dollars.total, VALUE_USD) <= most.utility + 1e-9


def test_the_oracle_s_answer_by_hand(build: Any) -> None:
    catalogue = build(MODELS, "small")

    # In a run of four: a quarter of 0.0001 USD and of 0.8 s, at what provisioned concurrency costs in full use.
    per_s = second_usd(catalogue.tiers["small"])
    assert per_s == pytest.approx((0.0000097222 + 0.0000041667) * 1769 / 1024)
    slow = best(catalogue, "t", SLO, 1, value_usd=VALUE_USD)
    assert (slow.accuracy, slow.usd) == (0.9, pytest.approx((0.0001 + 0.8 * per_s) / 4))


def test_it_is_bound_by_the_deadline_and_by_what_an_answer_is_worth(build: Any) -> None:
    catalogue = build(MODELS, "box")

    def accuracy(slo: Slo, value_usd: float = VALUE_USD, overhead_ms: float = 0.0) -> float:
        return best(catalogue, "t", slo, 1, value_usd=value_usd, overhead_ms=overhead_ms).accuracy

    assert accuracy(replace(SLO, latency_ms=300.0)) == 0.9
    assert accuracy(replace(SLO, latency_ms=300.0), overhead_ms=1.0) == 0.8
    assert accuracy(replace(SLO, latency_ms=5.0)) == 0.0
    # On a slot of 0.001 USD a second, in fours: 0.0002 for 0.9, 0.0000375 for 0.8 and 0.000005 for 0.6.
    assert accuracy(SLO, value_usd=0.0017) == 0.9
    assert accuracy(SLO, value_usd=0.0016) == 0.8
    assert accuracy(SLO, value_usd=0.00016) == 0.6
    assert accuracy(SLO, value_usd=0.000008) == 0.0


def test_what_is_refused_costs_nothing(build: Any) -> None:
    streams = [Stream("t", replace(SLO, latency_ms=5.0), np.array([0.0, 1.0, 9.0]))]

    assert bound(build(MODELS, "box"), streams, seconds=2.0) == Bound(2, 0, 0.0, 0.0, 0.0)
