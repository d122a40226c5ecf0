"""How a real run and simulated ones are compared: figures of answers, medians over repeats, errors."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.load_measured import Measured
from benchmarks.validation_rows import Compared, Figures, error_of, real_figures, rows_of, simulated_figures, summary
from registry.model import Slo
from simulator.bill import Dollars
from simulator.outcome import Outcome


def measured(latency_ms: Sequence[float], bodies: Sequence[bytes], status: Sequence[int] | None = None) -> Measured:
    due = np.arange(len(latency_ms), dtype=np.float64)
    return Measured(
        intended=due,
        sent=due,
        done=due + np.array(latency_ms) / 1000,
        status=np.array(status or [200] * len(due), dtype=np.int64),
        index=np.arange(len(due)),
        bodies=list(enumerate(bodies)),
        refused={},
        cpu_share=0.1,
        seconds=float(len(due)),
    )


def body(*, cold: bool, usd: float) -> bytes:
    return json.dumps({"decision": {"cold_start": cold, "cost_usd": usd}}).encode()


def outcome(latency_ms: Sequence[float], cold: Sequence[bool], usd: Sequence[float]) -> Outcome:
    count = len(latency_ms)
    none, zero = np.zeros(count, np.bool_), np.zeros(count)
    return Outcome(
        slos=(Slo(),),
        variants=("t/v",),
        stream=np.zeros(count, np.int32),
        arrived=zero,
        latency_ms=np.array(latency_ms),
        accuracy=zero,
        variant=np.zeros(count, np.int32),
        cold=np.array(cold),
        loaded=none,
        substitute=none,
        rejected=none,
        usd=np.array(usd),
        dollars=Dollars(idle=5.0),
        by_tier={},
        idle_hours=1.0,
        started=1,
    )


def test_real_and_simulated_figures_of_the_same_answers_are_the_same() -> None:
    latency_ms, cold, usd = [10.0, 20.0, 30.0, 500.0], [False, False, False, True], [1e-6, 1e-6, 2e-6, 4e-6]
    bodies = [body(cold=c, usd=u) for c, u in zip(cold, usd, strict=True)]
    real = real_figures(measured(latency_ms, bodies))
    simulated = simulated_figures(outcome(latency_ms, cold, usd))
    for name, value in (("p50_ms", 25.0), ("p99_ms", 485.9), ("cold_share", 0.25), ("usd_per_1k", 0.002)):
        assert getattr(real, name) == pytest.approx(value)
        assert getattr(simulated, name) == pytest.approx(value)


def test_a_request_without_an_answer_is_no_figure() -> None:
    with pytest.raises(RuntimeError, match="not every request was answered"):
        real_figures(measured([1.0, 2.0], [body(cold=True, usd=0.0)], status=[200, 503]))
    with pytest.raises(RuntimeError, match="2 answers, and the bodies of 1"):
        real_figures(measured([1.0, 2.0], [body(cold=True, usd=0.0)]))
    with pytest.raises(RuntimeError, match="not every simulated request"):
        simulated_figures(outcome([1.0, math.inf], [False, False], [0.0, 0.0]))


def test_rows_are_medians_over_repeats_and_over_simulations() -> None:
    repeats = [
        Compared(10, 2.0, Figures(real, 100.0, 0.5, 0.1), [Figures(p50, 110.0, 0.0, 0.1) for p50 in simulated])
        for real, simulated in ((10.0, (8.0, 9.0, 99.0)), (20.0, (12.0, 13.0, 14.0)), (30.0, (12.0, 12.0, 12.0)))
    ]
    rows = rows_of("heavy", "tier", repeats)
    assert [row["figure"] for row in rows] == ["p50_ms", "p99_ms", "cold_share", "usd_per_1k"]
    first = rows[0]
    assert (first["load"], first["tier"], first["rate"], first["requests"]) == ("heavy", "tier", 2.0, 30)
    assert (first["real"], first["simulated"], first["error"]) == (20.0, 12.0, pytest.approx(0.4))
    assert 10.0 <= first["real_low"] <= 20.0 <= first["real_high"] <= 30.0
    assert [row["error"] for row in rows[1:]] == [pytest.approx(0.1), 1.0, 0.0]
    assert summary(rows) == {**rows[2], "load": "largest error (heavy)"}


def test_an_error_is_a_share_of_the_real_figure() -> None:
    assert error_of(110.0, 100.0) == pytest.approx(0.1)
    assert error_of(90.0, 100.0) == pytest.approx(0.1)
    assert error_of(0.0, 0.0) == 0.0
    assert error_of(0.1, 0.0) == math.inf
