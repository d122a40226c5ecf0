"""From load runs to rows of the overload benchmark: goodput and what became of the rest; pure, it sends nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

import numpy as np

from benchmarks.harness import Row, interval
from benchmarks.load_measured import OK, Measured
from simulator.arrivals import Floats

REFUSED, EXPIRED = 429, 504

IN_TIME = 0.99
"""The share of requests that are answered in time at a rate that is sustained."""

DETAILS = ("goodput_low", "goodput_high", "late_share", "expired_share", "rounds", "lag_p99_ms")
"""Fields that no table has room for."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What became of the requests of one load run that were due after its beginning."""

    seconds: float
    """Over which they were due."""
    requests: int
    in_time: int
    refused: int
    """At once, or because they waited in vain."""
    expired: int
    """Of those, how many waited."""
    degraded: int
    """Answered by another than the most accurate variant."""
    accepted_ms: Floats
    """Latencies of those that were not refused; infinite where no answer came."""
    client_cpu: float
    """The load generator's share of one core."""
    lag_p99_ms: float
    """By how much it was behind with sending."""

    @property
    def share(self) -> float:
        """Of the requests, those that were answered in time."""
        return self.in_time / self.requests if self.requests else 0.0


def sample_of(measured: Measured, variants: Mapping[int, str], *, largest: str, slo_ms: float, since: float) -> Sample:
    """What became of the requests that were due from `since` (s) on.

    `variants` says who answered, by the request's place. Raises ValueError for a status that is neither an answer nor a
    refusal, as a server that fails is not what is measured.
    """
    other = measured.statuses.keys() - {OK, REFUSED, EXPIRED, 0}
    if other:
        raise ValueError(f"statuses {sorted(other)}: {[measured.refused[status][:200] for status in sorted(other)]}")
    late = measured.intended >= since
    status, latency = measured.status[late], measured.latency_ms[late]
    expired = int((status == EXPIRED).sum())
    return Sample(
        seconds=measured.seconds - since,
        requests=len(status),
        in_time=int(((status == OK) & (latency <= slo_ms)).sum()),
        refused=int((status == REFUSED).sum()) + expired,
        expired=expired,
        degraded=sum(variants[place] != largest for place in np.flatnonzero(late & (measured.status == OK)).tolist()),
        accepted_ms=latency[(status == OK) | (status == 0)],
        client_cpu=measured.cpu_share,
        lag_p99_ms=_quantile(measured.lag_ms[late], 0.99),
    )


@dataclass(frozen=True, slots=True)
class Case:
    """What a row is about."""

    capacity_of: str
    """Whose capacity the load is a multiple of."""
    policy: str
    capacity: float
    """Requests a second."""
    slo_ms: float


def rows_of(case: Case, samples: Mapping[float, Sequence[Sample]]) -> list[Row]:
    """A row for each load, given as a multiple of the capacity, in order; `of_most` is of the best load's goodput."""
    rows = [_row(case, offered, each) for offered, each in sorted(samples.items())]
    most = max(row["goodput"] for row in rows)
    return [{**row, "of_most": row["goodput"] / most if most else None} for row in rows]


def _row(case: Case, offered: float, samples: Sequence[Sample]) -> dict[str, Any]:
    requests = sum(each.requests for each in samples)
    accepted = np.concatenate([each.accepted_ms for each in samples])
    answered = int(np.isfinite(accepted).sum())
    in_time, refused = sum(each.in_time for each in samples), sum(each.refused for each in samples)
    goodput, low, high = interval([each.in_time / each.seconds for each in samples])
    return {
        "capacity_of": case.capacity_of,
        "policy": case.policy,
        "offered": offered,
        "offered_rps": offered * case.capacity,
        "goodput": goodput,
        "goodput_low": low,
        "goodput_high": high,
        "of_most": None,
        "degraded_share": sum(each.degraded for each in samples) / answered if answered else None,
        "refused_share": refused / requests if requests else None,
        "expired_share": sum(each.expired for each in samples) / requests if requests else None,
        "late_share": (requests - in_time - refused) / requests if requests else None,
        "accepted_p99_ms": _finite(_quantile(accepted, 0.99)),
        "slo_ms": case.slo_ms,
        "client_cpu": max(each.client_cpu for each in samples),
        "lag_p99_ms": _finite(max(each.lag_p99_ms for each in samples)),
        "rounds": len(samples),
    }


def _quantile(values: Floats, q: float) -> float:
    return float(np.quantile(values, q, method="inverted_cdf")) if len(values) else inf


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
