"""SlackFit: each run takes the work that just fits the most urgent request's slack; every variant stays resident.

Khare et al., SuperServe, NSDI 2025, its scheduling policy. There one supernet holds every variant, so that a switch
costs nothing; here all variants are loaded in every copy of a fixed fleet.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from registry.catalogue import Catalogue
from registry.model import Slo
from simulator.policies.options import Option, fastest, limit_ms
from simulator.policies.pools import FLEET, Fronted

BUCKETS = 16
"""Buckets of equal width in latency, from the fastest run to the bound."""


class Control(NamedTuple):
    """A variant and a batch size, and how long (ms) a run of them takes."""

    ms: float
    batch: int
    option: Option


class SlackFit(Fronted):
    """The bucket of the largest latency within the slack, and in it the largest batch that is waiting."""

    name = "slackfit"

    def __init__(self, catalogue: Catalogue, copies: int = FLEET) -> None:
        super().__init__(catalogue, copies)
        self._buckets: dict[str, list[list[Control]]] = {}

    def meet(self, task: str, slo: Slo) -> None:
        """Sort every control of a task into its bucket."""
        super().meet(task, slo)
        if self.found[task]:
            self._buckets[task] = buckets(self.found[task], limit_ms(slo))

    def pick(self, task: str, waiting: int, left_ms: float, now: float) -> tuple[Option, int]:
        """Where nothing fits, the fastest variant with all that waits."""
        for bucket in reversed(self._buckets[task]):
            fitting = [control for control in bucket if control.ms <= left_ms and control.batch <= waiting]
            if fitting:
                best = max(fitting, key=lambda control: (control.batch, control.option.accuracy, -control.ms))
                return best.option, best.batch
        option = fastest(self.found[task])
        return option, max(1, min(waiting, option.largest(left_ms)))


def buckets(found: list[Option], bound_ms: float) -> list[list[Control]]:
    """Every variant and batch within the bound that no other beats in latency, batch and accuracy, ascending.

    There are BUCKETS of equal latency between the fastest and the bound; without a bound, and where nothing is within
    it, up to the slowest.
    """
    every = [Control(ms, batch, option) for option in found for batch, ms in enumerate(option.ms, 1)]
    within = [control for control in every if control.ms <= bound_ms] or every
    controls = [control for control in within if not any(_beats(other, control) for other in within)]
    least, slowest = min(control.ms for control in controls), max(control.ms for control in controls)
    width = ((bound_ms if slowest <= bound_ms < math.inf else slowest) - least) / BUCKETS or 1.0
    sorted_in: list[list[Control]] = [[] for _ in range(BUCKETS)]
    for control in controls:
        sorted_in[min(BUCKETS - 1, math.floor((control.ms - least) / width))].append(control)
    return sorted_in


def _beats(one: Control, other: Control) -> bool:
    """Whether one is no worse in anything, and better in something."""
    no_worse = one.ms <= other.ms and one.batch >= other.batch and one.option.accuracy >= other.option.accuracy
    return no_worse and (one.ms, one.batch, one.option.accuracy) != (other.ms, other.batch, other.option.accuracy)
