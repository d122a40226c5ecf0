"""What windows of the batching benchmark say: rates, ratios and times to re-converge; pure, it runs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, NamedTuple

import numpy as np

from benchmarks.harness import Row, interval
from simulator.arrivals import Floats

IN_TIME = 0.99
"""The share of requests that a 99th percentile within the SLO means."""

NEAR = 0.1
"""How far from what it settles to a median latency may be."""

HOLD_S = 0.25
"""How long both have to hold."""

STEP_S = 0.025
"""Between two beginnings that are looked at."""

SETTLED_S = 0.5
"""The end of a phase, which is what it settles to."""

SANE = 0.95
"""In time of the end of a phase at least, or it did not settle: a pause of the machine may fall into it."""

UNSETTLED = 2.0
"""How many times the lowest median of an end that settled its highest may be."""

BEST_STATIC, NONE = "best_static", "none"

DETAILS = ("rps_low", "rps_high", "of_best_low", "of_best_high", "windows", "static_rps", "note")
"""Fields that no table has room for."""


class Answered(NamedTuple):
    """What became of each request, in the order in which they were due."""

    due: Floats
    """When it was (s)."""
    done: Floats
    """When it was answered (s); infinite where it was refused, expired or failed."""

    def between(self, start: float, stop: float) -> Floats:
        """Seconds from when it was due to its answer, of the requests that were due in [start, stop)."""
        first, last = np.searchsorted(self.due, (start, stop))
        return self.done[first:last] - self.due[first:last]


def quantile(latencies: Floats, q: float) -> float:
    """The latency that a share `q` of requests stays within; infinite without requests."""
    return float(np.quantile(latencies, q, method="inverted_cdf")) if len(latencies) else inf


def in_time(latencies: Floats, slo_s: float) -> float:
    """The share of requests that were answered within the SLO; 0 without requests."""
    return float(np.mean(latencies <= slo_s)) if len(latencies) else 0.0


def reconverged(answered: Answered, slo_s: float, *, since: float, until: float) -> float | None:
    """Seconds from a change at `since` to when latencies are again what they settle to until `until`, and in time.

    That is the first instant whose next HOLD_S have at least IN_TIME of the requests in time and a median latency
    within NEAR of what the last SETTLED_S of the phase have, or within the range that medians of HOLD_S have there, if
    that is wider. None where there is no such instant before those SETTLED_S, or where they are not in time or still
    change.
    """
    end = until - SETTLED_S
    settled = answered.between(end, until)
    if in_time(settled, slo_s) < SANE:
        return None
    low, high = _range(answered, end, until)
    if high > UNSETTLED * low:
        return None
    for step in range(round((end - since) / STEP_S) + 1):
        at = since + step * STEP_S
        latencies = answered.between(at, at + HOLD_S)
        if in_time(latencies, slo_s) >= IN_TIME and low <= quantile(latencies, 0.5) <= high:
            return round(at - since, 3)
    return None


def _range(answered: Answered, start: float, stop: float) -> tuple[float, float]:
    """The medians (s) that count as settled."""
    median = quantile(answered.between(start, stop), 0.5)
    starts = np.arange(start, stop - HOLD_S + STEP_S / 2, STEP_S).tolist()
    medians = [quantile(answered.between(at, at + HOLD_S), 0.5) for at in starts]
    return min((1 - NEAR) * median, *medians), max((1 + NEAR) * median, *medians)


class Limits(NamedTuple):
    """What no policy can exceed, a second."""

    ceiling: float
    """Requests of the loop, with an engine that does nothing."""
    model: float
    """Rows of the model's runs alone."""


@dataclass(slots=True)
class Found:
    """What was measured of one policy with one model, by round."""

    rule: str
    """Its name in `scheduler.rules`."""
    rps: list[float] = field(default_factory=list)
    p99_s: list[float] = field(default_factory=list)
    """In the window of each round's rate."""
    up_s: list[float | None] = field(default_factory=list)
    down_s: list[float | None] = field(default_factory=list)
    windows: int = 0

    @property
    def rate(self) -> float:
        """Requests a second: the median round."""
        return float(np.median(self.rps)) if self.rps else 0.0


def best_static(found: Mapping[str, Found]) -> str:
    """The policy with the highest rate of those with a fixed number of rows; raises ValueError without one."""
    return max((name for name in found if _static(name)), key=lambda name: found[name].rate)


def _static(policy: str) -> bool:
    return policy == NONE or policy.startswith("static:")


def rows_of(model: str, found: Mapping[str, Found], static_rps: Mapping[str, float], limits: Limits) -> list[Row]:
    """The rows of one model, ours first and as given; of those with a fixed number of rows, no batching and the best.

    `static_rps` is what the search for the best one found.
    """
    best = best_static(found)
    named = {name: of for name, of in found.items() if not _static(name) or name == NONE}
    rows = [_row(model, name, of, found[best], limits) for name, of in {**named, BEST_STATIC: found[best]}.items()]
    rows[-1]["static_rps"] = dict(static_rps)
    return [*rows]


def _row(model: str, policy: str, of: Found, best: Found, limits: Limits) -> dict[str, Any]:
    ratios = [ours / theirs for ours, theirs in zip(of.rps, best.rps, strict=True) if theirs]
    p99 = [each for each in of.p99_s if each < inf]
    return {
        "model": model,
        "policy": policy,
        **_spread("rps", of.rps),
        "p99_ms": 1e3 * float(np.median(p99)) if p99 else None,
        "reconverge_up_s": middle(of.up_s),
        "reconverge_down_s": middle(of.down_s),
        **_spread("of_best", ratios),
        "ceiling_rps": limits.ceiling,
        "model_rps": limits.model,
        "bound_by": "loop" if limits.model > limits.ceiling else "model",
        "rounds": len(of.rps),
        "rule": of.rule,
        "windows": of.windows,
        "static_rps": None,
        "note": _note(of),
    }


def middle(times: Sequence[float | None]) -> float | None:
    """The median, where None is longer than any; the longer of two in the middle. None without times."""
    return sorted(times, key=lambda each: inf if each is None else each)[len(times) // 2] if times else None


def _note(of: Found) -> str:
    missed = [
        f"{way}: not in {sum(each is None for each in times)} of {len(times)}"
        for way, times in (("up", of.up_s), ("down", of.down_s))
        if None in times
    ]
    return "; ".join(missed)


def _spread(name: str, values: Sequence[float]) -> dict[str, float | None]:
    names = (name, f"{name}_low", f"{name}_high")
    return dict(zip(names, interval(values) if len(values) else (None,) * 3, strict=True))
