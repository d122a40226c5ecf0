"""What became of requests and jobs while something was broken; it counts, and judges nothing but its own invariants."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from benchmarks.harness import Row

GRACE_S = 1.0
"""An answer or an error is due this long after a request's deadline at the latest."""


class Phase(StrEnum):
    """When a request came."""

    BEFORE = "before"
    DURING = "during"
    AFTER = "after"


class End(StrEnum):
    """What a request ended in."""

    ANSWERED = "answered"
    CLEAR_ERROR = "clear error"
    LOST = "lost"
    """In nothing, in an error without a code, or too late."""


@dataclass(slots=True)
class Tally:
    """One scenario's requests and jobs."""

    scenario: str
    platform: str
    """`virtual`: over fakes on a virtual clock; `stores`: real stores; `real`: processes and HTTP."""
    ends: Counter[tuple[Phase, End]] = field(default_factory=Counter)
    latencies_ms: dict[Phase, list[float]] = field(default_factory=lambda: {phase: [] for phase in Phase})
    """Of what was answered."""
    duplicated: int = 0
    """Outcomes beyond the first, of requests, jobs and observations alike."""
    jobs_lost: int = 0
    """Jobs and observations that were accepted, and ended in nothing."""
    notes: dict[str, float] = field(default_factory=dict)
    """Further figures of this scenario."""

    def ended(self, phase: Phase, end: End, took_s: float, deadline_s: float) -> None:
        """One request ended so, that long after it came."""
        if took_s > deadline_s + GRACE_S:
            end = End.LOST
        self.ends[phase, end] += 1
        if end is End.ANSWERED:
            self.latencies_ms[phase].append(took_s * 1000)

    def count(self, end: End, phase: Phase | None = None) -> int:
        """Requests that ended so, of one phase or of all."""
        return sum(n for (p, e), n in self.ends.items() if e is end and phase in (None, p))

    def row(self) -> Row:
        """The scenario's line."""
        return {
            "scenario": self.scenario,
            "platform": self.platform,
            "requests": sum(self.ends.values()),
            "answered": self.count(End.ANSWERED),
            "clear_errors": self.count(End.CLEAR_ERROR),
            "lost": self.count(End.LOST),
            "duplicated": self.duplicated,
            "jobs_lost": self.jobs_lost,
            "p99_before_ms": _p99(self.latencies_ms[Phase.BEFORE]),
            "p99_during_ms": _p99(self.latencies_ms[Phase.DURING]),
            "p99_after_ms": _p99(self.latencies_ms[Phase.AFTER]),
            "notes": self.notes,
        }

    def check(self) -> None:
        """Raise AssertionError where something was lost or done twice."""
        wrong = {"lost": self.count(End.LOST), "duplicated": self.duplicated, "jobs_lost": self.jobs_lost}
        assert not any(wrong.values()), f"{self.scenario}: {wrong}"


def _p99(values: list[float]) -> float | None:
    return float(np.quantile(values, 0.99)) if values else None
