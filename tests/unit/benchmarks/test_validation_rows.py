"""How a real run and simulated ones are compared: figures of answers, medians over repeats, errors."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.load_measured import Measured
from benchmarks.validation_rows import (
    SETTLE_S,
    Compared,
    Figures,
    error_of,
    real_figures,
    rows_of,
    simulated_figures,
    summaries,
)
from registry.model import Slo
from simulator.bill import Dollars
from simulator.outcome import Outcome


def measured(latency_ms: Sequence[float], bodies: Sequence[bytes], status: Sequence[int] | None = None) -> Measured:
    due = SETTLE_S - 1.0 + np.arange(len(latency_ms), dtype=np.float64)
    return Measured(
        intended=due,
        sent=due,
        done=due + np.array(latency_ms) / 1000,
        status=np.array(status or [200] * len(due), dtype=np.int64),
        index=np.arange(len(due)),
        bodies=list(enumerate(bodies))[::-1],
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
        arrived=SETTLE_S - 1.0 + np.arange(count, dtype=np.float64),
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
    latency_ms, cold = [9000.0, 10.0, 20.0, 30.0, 500.0], [True, False, False, False, True]
    usd = [9e-6, 1e-6, 1e-6, 2e-6, 4e-6]  # the first came before SETTLE_S
    bodies = [body(cold=c, usd=u) for c, u in zip(cold, usd, strict=True)]
    real = real_figures(measured(latency_ms, bodies))
    simulated = simulated_figures(outcome(latency_ms, cold, usd))
    for name, value in (("p50_ms", 25.0), ("p99_ms", 485.9), ("cold_share", 0.25), ("usd_per_1k", 0.002)):
        assert getattr(real, name) == pytest.approx(value)
        assert getattr(simulated, name) == pytest.approx(value)


def test_a_request_without_an_answer_counts_for_nothing() -> None:
    bodies = [body(cold=False, usd=1e-6), body(cold=False, usd=1e-6), body(cold=True, usd=3e-6)]
    refused = measured([5.0, 7.0, 9.0, 1.0], bodies, status=[200, 200, 200, 429])
    assert real_figures(refused) == Figures(2, pytest.approx(8.0), pytest.approx(8.98), 0.5, pytest.approx(0.002))
    lost = outcome([5.0, 7.0, 9.0, math.inf], [False, False, True, False], [1e-6, 1e-6, 3e-6, 0.0])
    assert simulated_figures(lost) == Figures(2, pytest.approx(8.0), pytest.approx(8.98), 0.5, pytest.approx(0.002))


def test_every_answer_must_have_been_kept() -> None:
    with pytest.raises(RuntimeError, match="the bodies of 1 were kept"):
        real_figures(measured([1.0, 2.0], [body(cold=True, usd=0.0)]))


def test_rows_are_medians_over_repeats_and_over_simulations() -> None:
    repeats = [
        Compared(10, 2.0, Figures(9, real, 100.0, 0.5, 0.1), [Figures(10, p50, 110.0, 0.0, 0.1) for p50 in simulated])
        for real, simulated in ((10.0, (8.0, 9.0, 99.0)), (20.0, (12.0, 13.0, 14.0)), (30.0, (12.0, 12.0, 12.0)))
    ]
    rows = rows_of("heavy", "tier", repeats)
    assert [row["figure"] for row in rows] == ["p50_ms", "p99_ms", "cold_share", "usd_per_1k"]
    first = rows[0]
    assert (first["load"], first["tier"], first["rate"]) == ("heavy", "tier", 2.0)
    assert (first["requests"], first["answered"]) == (30, 27)
    assert (first["real"], first["simulated"], first["error"]) == (20.0, 12.0, pytest.approx(0.4))
    assert 10.0 <= first["real_low"] <= 20.0 <= first["real_high"] <= 30.0
    assert [row["error"] for row in rows[1:]] == [pytest.approx(0.1), 1.0, 0.0]
    other = rows_of("light", "other", repeats[:1])
    assert summaries([*rows, *other]) == [
        {**rows[2], "load": "largest error (heavy)"},
        {**other[2], "load": "largest error (light)"},
    ]


def test_an_error_is_a_share_of_the_real_figure() -> None:
    assert error_of(110.0, 100.0) == pytest.approx(0.1)
    assert error_of(90.0, 100.0) == pytest.approx(0.1)
    assert error_of(0.0, 0.0) == 0.0
    assert error_of(0.1, 0.0) == math.inf
