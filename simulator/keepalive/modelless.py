"""The platform's own keep-alive policy: warm in the next minute where that is worth it; it forecasts nothing itself."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from simulator.keepalive.policy import MinuteDriven, Plans, during_next


class Forecaster(Protocol):
    """What tells how likely a task is asked for."""

    def close(self, minute: int, active: Collection[str]) -> None:
        """The minute is over, in which these tasks were asked for."""

    def ahead(self, task: str) -> float:
        """The probability that the task is asked for in the next minute."""


class Modelless(MinuteDriven):
    """Keeps an application warm during the next minute where a cold start would be expected to cost more than that."""

    def __init__(self, forecaster: Forecaster, ratio: float) -> None:
        """`ratio` is the price of an idle minute over the cost of a cold start, whatever they are counted in."""
        self._forecaster = forecaster
        self._ratio = ratio
        self._known: dict[str, None] = {}

    def closed(self, minute: int, active: Collection[str]) -> Plans:
        """Hand the minute on, and compare probabilities with the ratio."""
        self._known.update(dict.fromkeys(sorted(active)))
        self._forecaster.close(minute, active)
        return during_next(minute, [name for name in self._known if self._forecaster.ahead(name) >= self._ratio])
