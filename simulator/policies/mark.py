"""MArk: containers for the load that is foreseen and lasts, functions for what comes on top; one variant.

Zhang et al., MArk, ATC 2019: the greedy plan with launch costs, and spikes to serverless; constants are those of the
released code. Its LSTM's place is taken by persistence: the next minutes' largest window of 5 s is the last minute's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from math import inf

from registry.catalogue import Catalogue
from registry.model import Slo, StartMode
from simulator.policies.options import FUNCTIONS, Option, feasible, most_accurate, options
from simulator.policies.pools import Lane, Pooled
from simulator.policies.tracking import UNANSWERABLE, Baseline
from simulator.policy import Action, Ended, Invoke, Job, Reject

WINDOW_S = 5
PERIOD_S = 60
SPAN_S = 250.0
"""50 windows of 5 s: how far it plans."""

MORE = 1.2
"""Of the forecast."""

LAUNCH_S = 180.0
"""Of an instance's price: what a launch costs."""

AGREED = 6
"""Consecutive plans that agree before a copy is removed."""

COOL = 5
"""Periods after a launch without another, and periods at the start without any."""


class Mark(Pooled):
    """The most accurate variant that holds the bounds on a container, with its cheapest function beside it."""

    name = "mark"

    def initial(self) -> Mapping[str, int]:
        """None: functions take what comes before the first plan."""
        return Baseline.initial(self)

    def __init__(self, catalogue: Catalogue) -> None:
        super().__init__(catalogue)
        self._spill: dict[str, Option | None] = {}
        self._chosen: dict[str, Lane | None] = {}
        self._plans: dict[str, deque[int]] = {}
        self._launched_at: dict[str, float] = {}
        self._planned_at = 0.0

    def meet(self, task: str, slo: Slo) -> None:
        """Choose a new task's variant: one that runs on functions, too, where there is one."""
        super().meet(task, slo)
        if task not in self._chosen:
            lanes = self.lanes_of(task)
            able = feasible([lane.option for lane in lanes], slo)
            spill = feasible(options(self.catalogue, task, slo.percentile, FUNCTIONS), slo)
            both = [option for option in able if any(_same(option, other) for other in spill)]
            best = most_accurate(both or able) if able else None
            self._chosen[task] = next((lane for lane in lanes if lane.option is best), None)
            of_it = [other for other in spill if best is None or _same(best, other)]
            self._spill[task] = min(of_it, key=_price) if of_it else None
            self._plans[task] = deque(maxlen=AGREED)

    def arrive(self, job: Job, now: float) -> Iterable[Action]:
        """To a container where the queue is short enough, else to a function."""
        task = job.request.task
        self.meet(task, job.request.slo)
        lane, spill = self._chosen[task], self._spill[task]
        if lane is not None:
            lane.rate.add(now)
            up = self._copies[lane.option.placement.tier].up(now)
            if spill is None or now + waits_s(lane, up) <= job.deadline:
                lane.queue.append(job)
                return self.dispatch(now)
        return [Reject(job, UNANSWERABLE)] if spill is None else [Invoke(spill.placement, (job,))]

    def ended(self, end: Ended, now: float) -> Iterable[Action]:
        """A slot is free, where it was a container's."""
        if end.invoke.placement.id in self.lanes:
            return super().ended(end, now)
        return Baseline.ended(self, end, now)

    def tick(self, now: float) -> list[Action]:
        """Plan every minute; keep the plan in force every second."""
        self.meet_all()
        if now - self._planned_at >= PERIOD_S:
            self._planned_at = now
            for task, lane in self._chosen.items():
                if lane is not None:
                    lane.units = self._wanted(task, lane, now) * lane.option.slots
        return [*super().tick(now)]

    def _wanted(self, task: str, lane: Lane, now: float) -> int:
        spill, have = self._spill[task], lane.units // lane.option.slots
        foreseen = MORE * lane.rate.peak(now, PERIOD_S, WINDOW_S)
        self._plans[task].append(planned(lane.option, foreseen, inf if spill is None else spill.usd(1), have))
        wanted = max(self._plans[task])
        if wanted > have and now - self._launched_at.get(task, 0.0) < COOL * PERIOD_S:
            return have
        if wanted > have:
            self._launched_at[task] = now
        return wanted if len(self._plans[task]) == AGREED else max(have, wanted)


def planned(option: Option, load: float, spill_usd: float, have: int) -> int:
    """Copies that each serve a request for less than a function does: a new one has to earn its launch, too."""
    one = option.slots * option.throughput(1)
    copies, left = 0, load
    while left > 0:
        useful = min(one, left) * SPAN_S
        lasts_s = SPAN_S + (LAUNCH_S if copies >= have else 0.0)
        if option.tier.price.usd_per_idle_s * lasts_s / useful >= spill_usd:
            return copies
        copies, left = copies + 1, left - one
    return copies


def waits_s(lane: Lane, up: int) -> float:
    """How long a new job would be under way in a lane with so many copies up (s): the runs before it, and its own."""
    units = min(lane.units, up * lane.option.slots)
    if not units:
        return inf
    before = (len(lane.queue) + lane.running) // units
    return (before + 1) * lane.option.ms[0] / 1000


def _same(option: Option, other: Option) -> bool:
    return option.placement.variant == other.placement.variant


def _price(option: Option) -> tuple[float, bool, str]:
    return option.usd(1), option.tier.start_mode is not StartMode.ONDEMAND, option.id
