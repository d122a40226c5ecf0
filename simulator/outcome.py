"""What became of every simulated request and what it cost; it only counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from registry.model import Slo
from simulator.arrivals import Floats
from simulator.bill import Dollars

Flags = NDArray[np.bool_]

NOBODY = -1
"""The variant of a request without an answer."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """One simulation; arrays by request, in the order of arrival."""

    slos: tuple[Slo, ...]
    """By stream."""
    variants: tuple[str, ...]
    """Ids, by number."""
    stream: NDArray[np.int32]
    arrived: Floats
    """Seconds."""
    latency_ms: Floats
    """Infinite without an answer."""
    accuracy: Floats
    """Of the variant that answered, as measured; 0 without an answer."""
    variant: NDArray[np.int32]
    """The number of the variant that answered, or NOBODY."""
    cold: Flags
    """An environment was started for its answer."""
    loaded: Flags
    """The variant was loaded for its answer."""
    substitute: Flags
    """Answered from a warm environment by another variant than would be best were everything resident."""
    rejected: Flags
    """The policy refused it."""
    usd: Floats
    """Its part of its invocation, by rows; what is kept idle is nobody's."""
    dollars: Dollars
    """Of the whole platform."""
    by_tier: Mapping[str, Dollars]
    idle_hours: float
    """Hours that environments were there and ran nothing, summed over them."""
    started: int
    """Environments and copies."""

    def violations(self) -> dict[str, Flags]:
        """Which requests broke what was asked: not answered, late, not accurate enough, too dear."""
        answered = np.isfinite(self.latency_ms)
        return {
            "unanswered": ~answered,
            "latency_ms": answered & (self.latency_ms > _bounds(self.slos, "latency_ms", np.inf).take(self.stream)),
            "min_accuracy": answered & (self.accuracy < _bounds(self.slos, "min_accuracy", 0.0).take(self.stream)),
            "max_cost_usd": answered & (self.usd > _bounds(self.slos, "max_cost_usd", np.inf).take(self.stream)),
        }

    def timely(self) -> Flags:
        """Which were answered within their latency bound."""
        found: Flags = np.isfinite(self.latency_ms)
        return found & (self.latency_ms <= _bounds(self.slos, "latency_ms", np.inf).take(self.stream))

    def summary(self) -> dict[str, float]:
        """The figures of a table: shares of all requests, and milliseconds of the answered ones.

        `attainment` is the share that broke nothing; `effective_accuracy` counts what is late or unanswered as wrong;
        `substituted` is the share that a substitute answered without breaking anything. All are 0 without requests.
        """
        count = max(1, len(self.arrived))
        violations = self.violations()
        kept = ~np.logical_or.reduce(list(violations.values()))
        answered = self.latency_ms[np.isfinite(self.latency_ms)]
        p50, p99 = np.quantile(answered, (0.5, 0.99)).tolist() if len(answered) else (0.0, 0.0)
        return {
            "requests": float(len(self.arrived)),
            "attainment": float(kept.sum()) / count,
            "effective_accuracy": float(self.accuracy[self.timely()].sum()) / count,
            "usd": self.dollars.total,
            "usd_per_1k": self.dollars.total / count * 1000,
            "cold_share": float(self.cold.sum()) / count,
            "loaded_share": float(self.loaded.sum()) / count,
            "substituted": float((self.substitute & kept).sum()) / count,
            "rejected_share": float(self.rejected.sum()) / count,
            "p50_ms": p50,
            "p99_ms": p99,
            "idle_hours": self.idle_hours,
            **{f"broke_{name}": float(broken.sum()) / count for name, broken in violations.items()},
        }


def _bounds(slos: Sequence[Slo], name: str, free: float) -> Floats:
    """One bound of every stream; `free` where it has none."""
    values = [getattr(slo, name) for slo in slos]
    return np.array([free if value is None else value for value in values], dtype=np.float64)
