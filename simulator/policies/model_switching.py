"""Model-Switching: once a second, the variant that an offline table names for the load; never a batch, never a queue's
length.

Zhang et al., Model-Switching, HotCloud 2020, section 3: effective accuracy is P(done by the deadline at this load) ×
accuracy; section 4: the switching period is 1 s and every candidate is deployed.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from registry.catalogue import Catalogue
from registry.model import LEVELS, Profile, Slo
from simulator.policies.options import Option, fastest, limit_ms, most_accurate
from simulator.policies.pools import FLEET, Fronted
from simulator.policy import Action

LOADS = 20
"""Loads of the table, as RAMSIS (EuroSys 2024) made it for this baseline."""

DRAWS = 1000
"""Simulated arrivals at each load: an effective accuracy within about 1 %."""


class Row(NamedTuple):
    """From this load (a second) on, the variant that is best."""

    load: float
    option: Option


class ModelSwitching(Fronted):
    """A fixed fleet, its units shared out evenly among the tasks when the tables are made."""

    name = "model_switching"

    def __init__(self, catalogue: Catalogue, copies: int = FLEET) -> None:
        super().__init__(catalogue, copies)
        self._table: dict[str, list[Row]] = {}
        self._now: dict[str, Option] = {}

    def meet(self, task: str, slo: Slo) -> None:
        """Make a task's table."""
        super().meet(task, slo)
        if self.found[task]:
            units = max(1, self.units // max(1, len(self.catalogue.tasks)))
            profiles = {option.id: self.catalogue.profiles[option.id] for option in self.found[task]}
            self._table[task] = table(self.found[task], profiles, units, limit_ms(slo))
            self._now[task] = self._table[task][0].option

    def tick(self, now: float) -> list[Action]:
        """Read the load of the last second, and switch."""
        for task, rows in self._table.items():
            self._now[task] = look_up(rows, self.rates[task].mean(now, 1))
        return [*super().tick(now)]

    def pick(self, task: str, waiting: int, left_ms: float, now: float) -> tuple[Option, int]:
        """The second's variant, one job at a time: batching is off."""
        return self._now[task], 1


def look_up(rows: list[Row], load: float) -> Option:
    """The best variant at a load, by a table whose first row is at 0."""
    return rows[bisect_right([row.load for row in rows], load) - 1].option


def table(found: list[Option], profiles: dict[str, Profile], units: int, deadline_ms: float) -> list[Row]:
    """The variant of the highest effective accuracy from each load on, up to what the fastest can do at all."""
    most = units * fastest(found).throughput(1)
    one = {option: profiles[option.id].service[0].latency.ms for option in found}
    rows = [Row(0.0, most_accurate(found))]
    for step in range(1, LOADS + 1):
        load = most * step / LOADS
        best = max(found, key=lambda o: (timely(one[o], units, load, deadline_ms) * o.accuracy, -o.ms[0]))
        if best is not rows[-1].option:
            # Loads below the middle of two steps are nearer to the one before.
            rows.append(Row(load - most / LOADS / 2, best))
    return rows


@lru_cache(maxsize=4096)
def timely(ms: tuple[float, ...], units: int, load: float, deadline_ms: float) -> float:
    """Share done by the deadline of Poisson arrivals, first come, first served, on so many units; seeded.

    `ms` are the quantiles of the service time at LEVELS.
    """
    random = np.random.default_rng(0)
    gaps = random.exponential(1000 / load, DRAWS).tolist()
    service = np.interp(random.random(DRAWS), LEVELS, ms).tolist()
    free = [0.0] * units
    now, kept = 0.0, 0
    for gap, took in zip(gaps, service, strict=True):
        now += gap
        end = max(now, free[0]) + took
        heapq.heapreplace(free, end)
        kept += end - now <= deadline_ms
    return kept / DRAWS
