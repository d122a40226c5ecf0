"""Replays a trace against one keep-alive policy and counts cold starts and idle time; it decides nothing itself.

A request takes no time, and so does a start. Whatever a policy plans, an application's first request finds it cold.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from simulator.keepalive.policy import KeepAlive, Plans, Spans
from simulator.keepalive.trace import Trace


@dataclass(frozen=True, slots=True)
class Played:
    """What one application met."""

    application: str
    requests: int
    colds: tuple[float, ...]
    """When a request found it cold (minutes)."""
    ahead: int
    """How often it was started without a request."""
    idle: float
    """Minutes warm without a request, to the end of the trace."""
    after_last: float
    """Minutes of `idle` after its last request, of which nobody could know that it was the last."""

    @property
    def cold_share(self) -> float:
        """Of its requests."""
        return len(self.colds) / self.requests


@dataclass(frozen=True, slots=True)
class Replayed:
    """What all applications met under one policy."""

    played: tuple[Played, ...]

    @property
    def requests(self) -> tuple[int, ...]:
        """By application."""
        return tuple(each.requests for each in self.played)

    @property
    def cold_share(self) -> float:
        """Of all requests, those that found their application cold."""
        return sum(len(each.colds) for each in self.played) / sum(self.requests)

    @property
    def starts(self) -> int:
        """How often an application was started, by a request or ahead of one."""
        return sum(len(each.colds) + each.ahead for each in self.played)

    @property
    def idle_hours(self) -> float:
        """Hours of all applications together warm without a request, to the end of the trace."""
        return sum(each.idle for each in self.played) / 60

    @property
    def idle_between_hours(self) -> float:
        """The same without what came after an application's last request."""
        return sum(each.idle - each.after_last for each in self.played) / 60

    @property
    def q3_cold_share(self) -> float:
        """Third quartile over the applications of their cold share: the figure of ATC'20 (section 5)."""
        return float(np.quantile([each.cold_share for each in self.played], 0.75))

    def experienced(self, substituted: Collection[tuple[str, float]]) -> float:
        """Of all requests, those that met a cold start: their (application, time) is not in `substituted`."""
        met = sum((each.application, time) not in substituted for each in self.played for time in each.colds)
        return met / sum(self.requests)


def replay(trace: Trace, policy: KeepAlive) -> Replayed:
    """Hand every request and every minute to `policy` in order; a minute is over after all requests in it."""
    residences = {name: _Residence() for name in trace.applications}
    minute, active = 1, set[str]()

    def close_before(now: float) -> None:
        nonlocal minute
        while minute < now:
            _carry_out(policy.closed(minute, active), residences, float(minute))
            active.clear()
            minute += 1

    for now, name in trace:
        close_before(now)
        residences[name].ask(now)
        active.add(name)
        _carry_out(policy.asked(name, now), residences, now)
    close_before(trace.end)
    return Replayed(tuple(residence.over(name, trace.end) for name, residence in residences.items()))


def _carry_out(plans: Plans, residences: dict[str, _Residence], now: float) -> None:
    for name, spans in plans.items():
        residences[name].follow(spans, now)


class _Residence:
    """One application's plan and what it came to so far."""

    __slots__ = ("_ahead", "_colds", "_counted_to", "_idle", "_idle_at_last", "_requests", "_spans", "_warm")

    def __init__(self) -> None:
        self._spans: Spans = ()
        self._counted_to = 0.0
        self._warm = False
        """At `_counted_to`."""
        self._idle = self._idle_at_last = 0.0
        self._ahead = self._requests = 0
        self._colds: list[float] = []

    def ask(self, now: float) -> None:
        self._count(now)
        if not self._warm:
            self._colds.append(now)
        self._requests += 1
        self._idle_at_last = self._idle
        self._warm, self._spans = True, ()

    def follow(self, spans: Spans, now: float) -> None:
        self._count(now)
        self._spans = spans if self._requests else ()

    def over(self, application: str, end: float) -> Played:
        self._count(end)
        after = self._idle - self._idle_at_last
        return Played(application, self._requests, tuple(self._colds), self._ahead, self._idle, after)

    def _count(self, now: float) -> None:
        """Count what the plan came to until `now`."""
        since, warm = self._counted_to, False
        for start, stop in self._spans:
            if start > now:
                break
            if stop < since:
                continue
            begin = max(start, since)
            self._ahead += begin > since or not self._warm
            self._idle += min(stop, now) - begin
            warm = stop >= now
        # At one time a request and a plan may follow each other: what was warm still is.
        self._warm = warm or (self._warm and now == since)
        self._counted_to = now
