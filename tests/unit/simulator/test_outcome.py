"""What is counted of a simulation."""

from __future__ import annotations

import numpy as np
import pytest

from registry.model import Slo
from simulator.bill import Dollars
from simulator.outcome import NOBODY, Outcome


def test_the_figures_of_a_table() -> None:
    flags = np.zeros(6, np.bool_)
    outcome = Outcome(
        slos=(Slo(latency_ms=100.0, min_accuracy=0.85), Slo(max_cost_usd=0.5)),
        variants=("t/a", "t/b"),
        stream=np.array([0, 0, 0, 0, 1, 1], np.int32),
        arrived=np.arange(6.0),
        latency_ms=np.array([50.0, 100.1, 100.0, np.inf, 9000.0, 10.0]),
        accuracy=np.array([0.9, 0.9, 0.8, 0.0, 0.8, 0.9]),
        variant=np.array([1, 1, 0, NOBODY, 0, 1], np.int32),
        cold=np.array([0, 1, 0, 0, 1, 0], np.bool_),
        loaded=flags,
        substitute=np.array([1, 0, 1, 0, 0, 0], np.bool_),
        rejected=np.array([0, 0, 0, 1, 0, 0], np.bool_),
        usd=np.array([0.1, 0.1, 0.1, 0.0, 0.5, 0.6]),
        dollars=Dollars(requests=1.0, idle=2.0),
        by_tier={},
        idle_hours=1.5,
        started=2,
    )
    found = outcome.summary()
    # The first and the fifth broke nothing.
    assert found["attainment"] == pytest.approx(2 / 6)
    assert found["effective_accuracy"] == pytest.approx((0.9 + 0.8 + 0.8 + 0.9) / 6)
    assert found["usd_per_1k"] == pytest.approx(500.0)
    assert (found["cold_share"], found["rejected_share"]) == pytest.approx((2 / 6, 1 / 6))
    assert found["substituted"] == pytest.approx(1 / 6)
    assert found["p50_ms"] == 100.0
    broke = {name: int(flags.sum()) for name, flags in outcome.violations().items()}
    assert broke == {"unanswered": 1, "latency_ms": 1, "min_accuracy": 1, "max_cost_usd": 1}
