"""Jellyfish+: once a second, the most accurate variant and batch that keep up with the load; one for everything.

Nigade et al., Jellyfish, RTSS 2022, in the form that RAMSIS (Mendoza et al., EuroSys 2024) compares with: throughput of
at least 1.05 times each unit's part of the load, and a latency of at most half the bound. Its second is
Model-Switching's.
"""

from __future__ import annotations

from registry.catalogue import Catalogue
from registry.model import Slo
from simulator.policies.options import Option, limit_ms
from simulator.policies.pools import FLEET, Fronted
from simulator.policy import Action

MARGIN = 1.05
PART = 0.5
"""Of the bound that a run may take: the other half is for the wait."""


class Jellyfish(Fronted):
    """A fixed fleet with every variant resident."""

    name = "jellyfish"

    def __init__(self, catalogue: Catalogue, copies: int = FLEET) -> None:
        super().__init__(catalogue, copies)
        self._now: dict[str, tuple[Option, int]] = {}
        self._limit_ms: dict[str, float] = {}
        self._load: dict[str, float] = {}

    def meet(self, task: str, slo: Slo) -> None:
        """Begin with no load."""
        super().meet(task, slo)
        self._limit_ms[task] = limit_ms(slo)
        if self.found[task]:
            self._now[task] = best(self.found[task], 0.0, self._limit_ms[task])

    def tick(self, now: float) -> list[Action]:
        """Read the load of the last second, and choose for the next."""
        for task in self._now:
            load = self.rates[task].mean(now, 1) / self.units
            if load != self._load.get(task):
                self._load[task] = load
                self._now[task] = best(self.found[task], load, self._limit_ms[task])
        return [*super().tick(now)]

    def pick(self, task: str, waiting: int, left_ms: float, now: float) -> tuple[Option, int]:
        """The second's variant with what waits, up to its batch."""
        option, batch = self._now[task]
        return option, min(batch, waiting)


def best(found: list[Option], load: float, bound_ms: float) -> tuple[Option, int]:
    """The most accurate that keeps up with a unit's `load` a second, with its smallest such batch, or the most able."""
    able = [
        (option, batch)
        for option in found
        for batch in range(1, option.largest(PART * bound_ms) + 1)
        if option.throughput(batch) >= MARGIN * load
    ]
    if able:
        return max(able, key=lambda pair: (pair[0].accuracy, -pair[1]))
    pairs = [(option, max(1, option.largest(PART * bound_ms))) for option in found]
    return max(pairs, key=lambda pair: pair[0].throughput(pair[1]))
