"""Greedy-Dual-Size-Frequency keep-alive of FaasCache: warm until memory is needed for another; pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from simulator.keepalive.policy import EventDriven, Plans, Spans


@dataclass(slots=True)
class _Kept:
    frequency: int
    priority: float


class GreedyDual(EventDriven):
    """Fuerst and Sharma, FaasCache (ASPLOS'21, section 4): nothing ends by time, and only a lack of memory evicts.

    Priority is clock + frequency · cost / size, where the clock is the priority that was evicted last, and a
    frequency begins again at 1 after an eviction.
    """

    def __init__(self, sizes_mb: Mapping[str, float], capacity_mb: float, cost_s: Mapping[str, float]) -> None:
        """`cost_s` is what a cold start takes longer than a warm one; raises ValueError unless sizes are positive."""
        wrong = next((name for name, size in sizes_mb.items() if not size > 0.0), None)
        if wrong is not None:
            raise ValueError(f"{wrong} has a size of {sizes_mb[wrong]} MB, where priorities need a positive one")
        self._sizes, self._cost = sizes_mb, cost_s
        self._free = capacity_mb
        self._clock = 0.0
        self._kept: dict[str, _Kept] = {}

    def asked(self, application: str, now: float) -> Plans:
        """Warm until further notice; what had to make room is unloaded."""
        plans: dict[str, Spans] = {}
        kept = self._kept.get(application)
        if kept is None:
            if self._sizes[application] > self._free + sum(self._sizes[name] for name in self._kept):
                return {}
            plans.update(dict.fromkeys(self._make_room(self._sizes[application]), ()))
            kept = self._kept[application] = _Kept(0, 0.0)
            self._free -= self._sizes[application]
        kept.frequency += 1
        kept.priority = self._clock + kept.frequency * self._cost[application] / self._sizes[application]
        plans[application] = ((now, math.inf),)
        return plans

    def _make_room(self, needed: float) -> list[str]:
        evicted = []
        while self._free < needed:
            lowest = min(self._kept, key=lambda name: self._kept[name].priority)
            self._clock = self._kept.pop(lowest).priority
            self._free += self._sizes[lowest]
            evicted.append(lowest)
        return evicted
