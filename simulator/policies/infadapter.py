"""InfAdapter: every minute, units for each variant by accuracy less cost less loading, for a forecast of the load.

Salmani et al., InfAdapter, EuroMLSys 2023, its integer program: maximise AA - α · (Σ n / n_max) - β · LC such that the
variants carry the forecast. Its LSTM's place is taken by persistence: the next minute's largest second is the last
minute's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from registry.catalogue import Catalogue
from registry.model import Profile, Slo
from simulator.policies.milp import Program
from simulator.policies.model_switching import timely
from simulator.policies.options import Option, limit_ms
from simulator.policies.pools import FLEET, Lane, Pooled, Spread
from simulator.policies.tracking import peak
from simulator.policy import Action, Job

MINUTE_S = 60
ALPHA = 0.2
BETA = 0.2
"""β is the artefact's default; α is given by no text here, so cost weighs as much as loading does."""

REGRESSED = (1, 2, 4, 8)
"""Units at which a variant's throughput within its bound is measured for the regression."""

HALVINGS = 8
UNMET = 1.0
"""What a share of the demand that nothing carries loses on top of its accuracy: it outweighs every other term."""


class Capacity(NamedTuple):
    """A variant's throughput within its bound: `slope` · units + `base` a second, where it has any unit."""

    option: Option
    slope: float
    base: float


class Part(NamedTuple):
    """Units of a variant, and the rate (a second) that they are sent."""

    option: Option
    units: int
    rate: float


class InfAdapter(Pooled):
    """Adds and removes containers as planned; `copies` is the most that it may have of each tier."""

    name = "infadapter"

    def __init__(self, catalogue: Catalogue, copies: int = FLEET) -> None:
        super().__init__(catalogue)
        self._most = copies
        self._capacities: dict[str, list[Capacity]] = {}
        self._spread: dict[str, Spread] = {}
        self._solved: dict[tuple[str, float, tuple[tuple[str, int], ...]], list[Part]] = {}
        self._planned_at = -float(MINUTE_S)

    def tick(self, now: float) -> list[Action]:
        """Plan every minute; keep the plan in force every second."""
        if now - self._planned_at < MINUTE_S:
            return [*super().tick(now)]
        self._planned_at = now
        self.meet_all()
        units: dict[str, int] = {}
        for task in self.slos:
            units |= self._plan(task, now)
        return [*self.plan(units, now), *super().tick(now)]

    def route(self, job: Job, now: float) -> Lane | None:
        """In proportion to the rates of the plan."""
        return self._spread[job.request.task].pick(self.lanes_of(job.request.task))

    def meet(self, task: str, slo: Slo) -> None:
        """Measure a new task's variants."""
        super().meet(task, slo)
        if task not in self._capacities:
            self._spread[task] = Spread()
            accurate = [lane.option for lane in self.lanes_of(task) if lane.option.accuracy >= (slo.min_accuracy or 0)]
            profiles = self.catalogue.profiles
            found = [capacity(option, profiles[option.id], slo) for option in accurate]
            self._capacities[task] = [each for each in found if each.slope > 0]

    def _plan(self, task: str, now: float) -> dict[str, int]:
        before = {lane.option.id: lane.units for lane in self.lanes_of(task)}
        load = max(1.0, peak([lane.rate for lane in self.lanes_of(task)], now, MINUTE_S))
        most = max((self._most * each.option.slots for each in self._capacities[task]), default=0)
        # Most minutes of a quiet task are like the one before.
        key = task, load, tuple(before.items())
        if key not in self._solved:
            self._solved[key] = solve(self._capacities[task], load, most, before)
        parts = self._solved[key]
        self._spread[task].weigh({part.option.id: part.rate for part in parts})
        return {part.option.id: part.units for part in parts}


def capacity(option: Option, profile: Profile, slo: Slo) -> Capacity:
    """The line through what REGRESSED units carry such that the SLO's percentile is in time; slope 0: nothing."""
    carried = [_carried(option, profile, units, slo) for units in REGRESSED]
    slope, base = np.polyfit(REGRESSED, carried, 1).tolist()
    return Capacity(option, slope, base) if carried[0] > 0 else Capacity(option, 0.0, 0.0)


def _carried(option: Option, profile: Profile, units: int, slo: Slo) -> float:
    low, high = 0.0, units * option.throughput(1)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        holds = timely(profile.service[0].latency.ms, units, middle, limit_ms(slo)) >= slo.percentile / 100
        low, high = (middle, high) if holds else (low, middle)
    return low


def solve(capacities: Sequence[Capacity], load: float, most: int, before: Mapping[str, int]) -> list[Part]:
    """Units of each variant, at most so many in all, by the objective; `before` are those that each has now."""
    if not capacities or not most:
        return []
    program = Program()
    slowest = max(each.option.load_ms for each in capacities) or 1.0
    loading = program.variable(cost=BETA, most=1.0)
    terms: list[tuple[Option, int, int]] = []
    for option, slope, base in capacities:
        n = program.variable(cost=ALPHA / most, most=most, whole=True)
        rate = program.variable(cost=-option.accuracy / load)
        used, changed = program.variable(most=1, whole=True), program.variable(most=1, whole=True)
        had = before.get(option.id, 0)
        program.require({n: 1.0, used: -most}, high=0.0)
        program.require({rate: 1.0, n: -slope, used: -base}, high=0.0)
        program.require({n: 1.0, changed: -most}, high=had)
        program.require({n: 1.0, changed: most}, low=had)
        program.require({loading: 1.0, changed: -option.load_ms / slowest}, low=0.0)
        terms.append((option, n, rate))
    unmet = program.variable(cost=UNMET / load)
    program.require({unmet: 1.0, **{rate: 1.0 for _, _, rate in terms}}, low=load, high=load)
    program.require({n: 1.0 for _, n, _ in terms}, high=most)
    values = program.solve()
    if values is None:
        return []
    return [Part(option, round(values[n]), values[rate]) for option, n, rate in terms if round(values[n])]
