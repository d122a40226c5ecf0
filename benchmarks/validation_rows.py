"""Compares what a real run and simulated ones came to, figure by figure; it runs neither."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from statistics import median

import numpy as np

from benchmarks.harness import Row, interval
from benchmarks.load_measured import OK, Measured
from simulator.outcome import Outcome

SETTLE_S = 2.0
"""Requests before this count for nothing: the first start of a load is not what the load is about."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run of a load came to, of the requests that were answered."""

    answered: int
    p50_ms: float
    p99_ms: float
    cold_share: float
    usd_per_1k: float
    """Of the answers alone; what is kept idle is nobody's."""

    @classmethod
    def of(cls, latency_ms: Sequence[float], cold: Sequence[bool], usd: Sequence[float]) -> Figures:
        """Of these answers, in any order but the same."""
        p50, p99 = np.quantile(latency_ms, (0.50, 0.99)).tolist()
        return cls(len(latency_ms), p50, p99, float(np.mean(cold)), float(np.mean(usd)) * 1000)


NAMES = tuple(field.name for field in fields(Figures))[1:]


@dataclass(frozen=True, slots=True)
class Compared:
    """One repeat of a load: a real run, and simulated ones of the same arrivals."""

    requests: int
    """That count."""
    rate: float
    """Requests a second, on average."""
    real: Figures
    simulated: Sequence[Figures]


def real_figures(measured: Measured) -> Figures:
    """What clients saw and answers said; every answer must have a body of its own. Raises RuntimeError."""
    bodies = dict(measured.bodies)
    if len(bodies) != np.count_nonzero(measured.status == OK):
        raise RuntimeError(f"{measured.statuses} are the statuses, and the bodies of {len(bodies)} were kept")
    numbers = np.flatnonzero((measured.status == OK) & (measured.intended >= SETTLE_S)).tolist()
    decisions = [json.loads(bodies[number])["decision"] for number in numbers]
    cold, usd = [d["cold_start"] for d in decisions], [d["cost_usd"] for d in decisions]
    return Figures.of(measured.latency_ms[numbers].tolist(), cold, usd)


def simulated_figures(outcome: Outcome) -> Figures:
    """The same of a simulation."""
    counts = np.isfinite(outcome.latency_ms) & (outcome.arrived >= SETTLE_S)
    return Figures.of(outcome.latency_ms[counts].tolist(), outcome.cold[counts].tolist(), outcome.usd[counts].tolist())


def rows_of(load: str, tier: str, repeats: Sequence[Compared]) -> list[Row]:
    """One row for each figure of a load: medians over its repeats, the real one with its 95 % interval."""
    rate, requests = median(r.rate for r in repeats), sum(r.requests for r in repeats)
    rows: list[Row] = []
    answered = sum(r.real.answered for r in repeats)
    for name in NAMES:
        real, low, high = interval([getattr(r.real, name) for r in repeats])
        simulated = median(median(getattr(each, name) for each in r.simulated) for r in repeats)
        rows.append(
            {
                "load": load,
                "tier": tier,
                "rate": rate,
                "requests": requests,
                "answered": answered,
                "figure": name,
                "real": real,
                "real_low": low,
                "real_high": high,
                "simulated": simulated,
                "error": error_of(simulated, real),
            }
        )
    return rows


def error_of(simulated: float, real: float) -> float:
    """How far the simulated figure is from the real one, as a share of that; infinite where only the real is 0."""
    if simulated == real:
        return 0.0
    return abs(simulated - real) / real if real else float("inf")


def summaries(rows: Sequence[Row]) -> list[Row]:
    """The row of each tier that is furthest from the truth."""
    tiers = dict.fromkeys(row["tier"] for row in rows)
    worst = [max((row for row in rows if row["tier"] == tier), key=lambda row: float(row["error"])) for tier in tiers]
    return [{**row, "load": f"largest error ({row['load']})"} for row in worst]
