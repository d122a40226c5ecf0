"""Proteus: every 10 s a mixed-integer program gives each device a variant and each variant a share of the demand.

Ahmad et al., Proteus, ASPLOS 2024: the resource allocation program, β where it has no solution, and its batching;
constants are those of the released artefact. Devices of one tier are alike, so the program counts them: n[v] is the sum
of x over them, and u[v] that of x·z, the rate that variant v serves; this is the linearised program with its symmetry
taken out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from math import inf
from typing import NamedTuple

from registry.catalogue import Catalogue
from registry.model import Slo, Tier
from simulator.policies.milp import Program
from simulator.policies.options import Option, limit_ms
from simulator.policies.pools import FLEET, Lane, Pooled, Spread, cheapest
from simulator.policy import Action, Job

PERIOD_S = 10.0
DECAY = 1.6
"""`ewma_decay`: the last window's demand counts 1.6 times as much as all before it."""

BETA = 1.05
STEP = 0.05
LEAST = 0.2
LADDER = tuple(round(BETA - STEP * i, 2) for i in range(round((BETA - LEAST) / STEP) + 1))
"""β begins at BETA and falls by STEP to LEAST until there is a solution."""

GAP = 0.001
"""Of the solver. The artefact's 0.5 lets it stop at half of what is possible, and HiGHS does."""

LEAST_DEMAND = 0.001
"""A second: what a task that nobody asks for is planned with, so that a device can answer it at all."""


LEAST_RATE = 1e-9
"""A second: what a solver says for nothing."""


class Device(NamedTuple):
    """What one device does of a variant: its largest batch within the bound, and jobs a second with it."""

    option: Option
    batch: int
    peak: float


class Share(NamedTuple):
    """Devices of a variant, and the rate (a second) that they are sent."""

    device: Device
    devices: int
    rate: float


class Proteus(Pooled):
    """A fixed cluster of so many copies, each slot of which is a device."""

    name = "proteus"
    period_s = PERIOD_S

    def __init__(self, catalogue: Catalogue, copies: int = FLEET) -> None:
        self._cluster = copies
        super().__init__(catalogue)
        self._demand: dict[str, float] = {}
        self._planned: dict[str, float] = {}
        self._spread = Spread()
        self._holds: dict[str, float] = {}

    def initial(self) -> Mapping[str, int]:
        """The cluster: all copies are of the cheapest tier."""
        return {**super().initial(), cheapest(self.catalogue).name: self._cluster}

    def copies(self, tier: Tier, units: int) -> int:
        """The cluster is as it is."""
        return self.initial()[tier.name]

    def tick(self, now: float) -> list[Action]:
        """Solve for the demand of the last windows, unless it is what it was."""
        self.meet_all()
        for task in self.slos:
            seen = sum(lane.rate.mean(now, int(PERIOD_S)) for lane in self.lanes_of(task))
            self._demand[task] = ewma(self._demand.get(task, seen), seen)
        # Nothing is decided by thousandths of a request a second; most programs of a quiet trace are then the last one.
        demand = {task: max(LEAST_DEMAND, round(rate, 3)) for task, rate in self._demand.items()}
        if demand == self._planned:
            return [*super().tick(now)]
        self._planned = demand
        return [*self._solve(demand, now), *super().tick(now)]

    def _solve(self, demand: Mapping[str, float], now: float) -> list[Action]:
        shares = solve(self._devices(), demand, self._sizes())
        if not shares:
            return []  # the last plan stays: no assignment carries even a fifth
        for lane in self.lanes.values():
            lane.batch = max(1, lane.option.largest(limit_ms(self.slos[lane.option.placement.task])))
        self._spread.weigh({share.device.option.id: share.rate for share in shares})
        return self.plan({share.device.option.id: share.devices for share in shares}, now)

    def route(self, job: Job, now: float) -> Lane | None:
        """As the program shares the demand out."""
        return self._spread.pick(self.lanes_of(job.request.task))

    def dispatch(self, now: float) -> list[Action]:
        """Full batches at once; others when their head could not wait any longer."""
        free = self.free(now)
        actions: list[Action] = []
        self._holds = {}
        for lane in self.lanes.values():
            room = min(free[lane.option.tier.name], lane.units - lane.running)
            while room > 0 and lane.queue:
                actions += lane.drop(now)
                jobs = due(lane, now) if lane.queue else 0
                if not jobs:
                    break
                actions.append(lane.run(jobs))
                free[lane.option.tier.name] -= 1
                room -= 1
            if room > 0 and lane.queue:
                self._holds[lane.option.id] = holds_until(lane)
        return actions

    def wake(self, now: float) -> list[Action]:
        """A batch must not wait longer."""
        return [*super().wake(now), *self.dispatch(now)]

    def wake_at(self) -> float:
        """When the first batch must begin."""
        return min(super().wake_at(), min(self._holds.values(), default=inf))

    def _devices(self) -> dict[str, list[Device]]:
        return {task: devices([lane.option for lane in self.lanes_of(task)], slo) for task, slo in self.slos.items()}

    def _sizes(self) -> dict[str, int]:
        return {name: copies * self.catalogue.tiers[name].concurrency for name, copies in self.initial().items()}


def ewma(before: float, seen: float) -> float:
    """Demand after one more window."""
    return (before + DECAY * seen) / (1 + DECAY)


def due(lane: Lane, now: float) -> int:
    """Jobs to run now: a full batch, or what waits where the head must begin; 0: wait for more."""
    waiting, patient = min(len(lane.queue), lane.batch), lane.queue[0].deadline < inf
    if waiting < lane.batch and patient and now < holds_until(lane) - 1e-9:
        return 0
    return _in_time(lane, waiting, now)


def holds_until(lane: Lane) -> float:
    """When the head must begin, at the latest, together with one more than waits (s)."""
    more = min(len(lane.queue) + 1, lane.batch)
    return lane.queue[0].deadline - lane.option.ms[more - 1] / 1000


def _in_time(lane: Lane, jobs: int, now: float) -> int:
    """As many as do not make the head late; one always may begin."""
    left_ms = (lane.queue[0].deadline - now) * 1000
    return max(1, min(jobs, lane.option.largest(left_ms)))


def devices(found: Sequence[Option], slo: Slo) -> list[Device]:
    """What can answer within the bounds at all, with its largest batch below the latency bound."""
    accurate = [option for option in found if option.accuracy >= (slo.min_accuracy or 0.0)]
    batches = [(option, option.largest(limit_ms(slo))) for option in accurate]
    return [Device(option, batch, math.floor(option.throughput(batch))) for option, batch in batches if batch]


def solve(
    devices: Mapping[str, Sequence[Device]], demand: Mapping[str, float], sizes: Mapping[str, int]
) -> list[Share]:
    """The shares of greatest effective accuracy that carry β of the demand, for the largest β that can be carried.

    `devices` and `demand` (a second) by task, `sizes` in devices by tier. Empty where not even LEAST can be.
    """
    for beta in LADDER:
        found = _program(devices, demand, sizes, beta)
        if found is not None:
            return found
    return []


def _program(
    devices: Mapping[str, Sequence[Device]], demand: Mapping[str, float], sizes: Mapping[str, int], beta: float
) -> list[Share] | None:
    program = Program()
    hosted: dict[str, dict[int, float]] = {tier: {} for tier in sizes}
    numbers: list[tuple[Device, int, int]] = []
    total = max(sum(demand.values()), 1e-9)
    for task, found in devices.items():
        carried: dict[int, float] = {}
        for device in found:
            n = program.variable(most=sizes[device.option.tier.name], whole=True)
            u = program.variable(cost=-device.option.accuracy / total)
            program.require({u: 1.0, n: -device.peak}, high=0.0)
            hosted[device.option.tier.name][n] = 1.0
            carried[u] = 1.0
            numbers.append((device, n, u))
        program.require(carried, high=beta * demand[task])
    for tier, terms in hosted.items():
        if terms:  # exactly one variant on each device
            program.require(terms, low=sizes[tier], high=sizes[tier])
    program.require({u: 1.0 for _, _, u in numbers}, low=beta * sum(demand.values()))
    values = program.solve(GAP)
    if values is None:
        return None
    return _used([Share(d, round(values[n]), values[u]) for d, n, u in numbers if round(values[n])])


def _used(shares: Sequence[Share]) -> list[Share]:
    """Devices of variants that are sent nothing host, instead, what is busiest: the program does not mind."""
    busy = {share.device: share for share in shares if share.rate > LEAST_RATE}
    for idle in (share for share in shares if share.device not in busy):
        for _ in range(idle.devices):
            alike = [share for share in busy.values() if share.device.option.tier is idle.device.option.tier]
            if alike:
                most = max(alike, key=lambda share: share.rate / (share.devices * share.device.peak))
                busy[most.device] = most._replace(devices=most.devices + 1)
    return list(busy.values())
