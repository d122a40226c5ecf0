"""Container copies as the baselines use them: queues, free slots and what keeps a plan in force; it plans nothing.

A unit is one slot of a copy: the papers' device, replica or core. A plan says how many units each variant has; the
copies of a tier are as many as its units need, so that no baseline pays for slots that it did not ask for.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from math import inf

from registry.catalogue import Catalogue
from registry.model import Slo, Tier
from scheduler.actions import Provision, Unload, Warm
from simulator.policies.copies import Copies
from simulator.policies.options import CONTAINERS, Option, best_of_each, fastest, feasible, options
from simulator.policies.tracking import LATE, UNANSWERABLE, Baseline, Rate
from simulator.policy import Action, Ended, Invoke, Job, Reject

FLEET = 4
"""Copies of a fixed fleet, unless told otherwise; what such a system has is its operator's choice."""


class Lane:
    """A placement's queue, first come, first served, and how many runs it may have going."""

    def __init__(self, option: Option, batch: int = 1) -> None:
        self.option = option
        self.units = 0
        """Most runs at once."""
        self.batch = batch
        """Most jobs of a run."""
        self.queue: deque[Job] = deque()
        self.running = 0
        self.warm = False
        """Whether it was to be loaded, when that was last said."""
        self.rate = Rate()

    @property
    def load(self) -> float:
        """Jobs before a new one, for each unit."""
        return (len(self.queue) + self.running) / self.units if self.units else inf

    def begin(self, free: int, now: float) -> Iterator[Action]:
        """Runs to begin with at most so many free slots, of whatever waits up to the batch."""
        for _ in range(min(free, self.units - self.running)):
            yield from self.drop(now)
            if not self.queue:
                return
            yield self.run(min(self.batch, len(self.queue)))

    def run(self, jobs: int) -> Invoke:
        """So many jobs from the head of the queue as a run that goes on from now."""
        self.running += 1
        return Invoke(self.option.placement, tuple(self.queue.popleft() for _ in range(jobs)))

    def drop(self, now: float) -> Iterator[Reject]:
        """Refuse what waits and cannot be done in time any more, even alone."""
        while self.queue and now + self.option.ms[0] / 1000 > self.queue[0].deadline:
            yield Reject(self.queue.popleft(), LATE)


class Pooled(Baseline):
    """Gives each job to a lane; a subclass says which (`route`) and, at each period, how many units each has."""

    period_s = 1.0

    def __init__(self, catalogue: Catalogue) -> None:
        super().__init__(catalogue)
        self.lanes: dict[str, Lane] = {}
        self.slos: dict[str, Slo] = {}
        """The bounds of each task's requests: those of the last one."""
        self._lanes_of: dict[str, list[Lane]] = {}
        self._copies = {name: Copies(copies) for name, copies in self.initial().items()}

    def initial(self) -> Mapping[str, int]:
        """One copy of the cheapest tier."""
        return {**super().initial(), cheapest(self.catalogue).name: 1}

    def route(self, job: Job, now: float) -> Lane | None:
        """The lane that a job waits in; None: nothing may answer it."""
        raise NotImplementedError

    def arrive(self, job: Job, now: float) -> Iterable[Action]:
        """Queue a job in its lane and begin what can begin."""
        self.meet(job.request.task, job.request.slo)
        lane = self.route(job, now)
        if lane is None:
            return [Reject(job, UNANSWERABLE)]
        lane.rate.add(now)
        lane.queue.append(job)
        return [*self.keep(now), *self.dispatch(now)]

    def ended(self, end: Ended, now: float) -> Iterable[Action]:
        """A slot is free."""
        super().ended(end, now)
        self.lanes[end.invoke.placement.id].running -= 1
        return self.dispatch(now)

    def tick(self, now: float) -> Iterable[Action]:
        """Keep the plan in force."""
        return [*self.keep(now), *self.warmth(), *self.dispatch(now)]

    def meet(self, task: str, slo: Slo) -> None:
        """Open the lanes of a task that is new, with no units."""
        self.slos[task] = slo
        if task not in self._lanes_of:
            found = best_of_each(options(self.catalogue, task, slo.percentile, CONTAINERS))
            self._lanes_of[task] = [Lane(option) for option in found]
            self.lanes |= {lane.option.id: lane for lane in self._lanes_of[task]}

    def meet_all(self) -> None:
        """Open the lanes of every task of the catalogue that is new, with its default bounds."""
        for task in self.catalogue.tasks.values():
            if task.name not in self._lanes_of:
                self.meet(task.name, task.default_slo)

    def lanes_of(self, task: str) -> list[Lane]:
        """A task's lanes, the least accurate first."""
        return self._lanes_of[task]

    def plan(self, units: Mapping[str, int], now: float) -> list[Action]:
        """Let each placement have so many units, those not named none; what waits where none are left moves."""
        for lane in self.lanes.values():
            lane.units = units.get(lane.option.id, 0)
        moved: list[Action] = []
        for lane in self.lanes.values():
            while lane.queue and not lane.units:
                job = lane.queue.popleft()
                other = self.route(job, now)
                if other is None or other is lane:
                    moved.append(Reject(job, UNANSWERABLE))
                else:
                    other.queue.append(job)
        return [*moved, *self.keep(now), *self.warmth()]

    def copies(self, tier: Tier, units: int) -> int:
        """Copies that a tier needs for so many units."""
        return math.ceil(units / tier.concurrency)

    def keep(self, now: float) -> list[Action]:
        """Copies for the plan, where they are not what was asked for last."""
        used = Counter(dict.fromkeys(self._copies, 0))
        for lane in self.lanes.values():
            used[lane.option.tier.name] += lane.units
        actions: list[Action] = []
        for name, units in used.items():
            wanted = self.copies(self.catalogue.tiers[name], units)
            if wanted != self._copies[name].wanted:
                self._copies[name].provision(wanted, now)
                actions.append(Provision(name, wanted, f"{units} units are planned"))
        return actions

    def warmth(self) -> list[Action]:
        """Variants for the plan in as many copies as have their units, and none that have no unit."""
        actions: list[Action] = []
        for lane in self.lanes.values():
            if lane.units:
                copies = math.ceil(lane.units / lane.option.slots)
                actions.append(Warm(lane.option.placement, f"{lane.units} units are planned", copies))
            elif lane.warm and not lane.running:
                actions.append(Unload(lane.option.placement, "no unit is planned"))
            lane.warm = lane.units > 0
        return actions

    def dispatch(self, now: float) -> list[Action]:
        """Begin what can begin in the slots that are free."""
        free = self.free(now)
        actions: list[Action] = []
        for lane in self.lanes.values():
            if not lane.queue:
                continue
            before = lane.running
            actions += lane.begin(free[lane.option.tier.name], now)
            free[lane.option.tier.name] -= lane.running - before
        return actions

    def free(self, now: float) -> Counter[str]:
        """Free slots in the copies that are up, by tier."""
        tiers = self.catalogue.tiers
        free = Counter({name: copies.up(now) * tiers[name].concurrency for name, copies in self._copies.items()})
        for lane in self.lanes.values():
            free[lane.option.tier.name] -= lane.running
        return free


class Spread:
    """Sends jobs to lanes in proportion to their weights, whichever is furthest behind first."""

    def __init__(self) -> None:
        self._weights: Mapping[str, float] = {}
        self._sent: Counter[str] = Counter()

    def weigh(self, weights: Mapping[str, float]) -> None:
        """Begin anew with these weights, by placement id; whoever has none is sent nothing."""
        self._weights = {id_: weight for id_, weight in weights.items() if weight > 0}
        self._sent.clear()

    def pick(self, lanes: Iterable[Lane]) -> Lane | None:
        """The next lane among these; None where none has a weight and a unit."""
        weighed = [lane for lane in lanes if lane.units and lane.option.id in self._weights]
        if not weighed:
            return None
        lane = min(weighed, key=self._turn)
        self._sent[lane.option.id] += 1
        return lane

    def _turn(self, lane: Lane) -> tuple[float, str]:
        id_ = lane.option.id
        return (self._sent[id_] + 1) / self._weights[id_], id_


class Fronted(Baseline):
    """One queue a task before a fixed fleet with every variant resident; a subclass picks the variant of each run."""

    period_s = 1.0

    def __init__(self, catalogue: Catalogue, copies: int = FLEET) -> None:
        super().__init__(catalogue)
        self.tier = cheapest(catalogue)
        self.copies = copies
        self.units = copies * self.tier.concurrency
        self.queues: dict[str, deque[Job]] = {}
        self.rates: dict[str, Rate] = {}
        self.found: dict[str, list[Option]] = {}
        """What may answer each task, the least accurate first."""
        self._running = 0
        self._begun = False

    def pick(self, task: str, waiting: int, left_ms: float, now: float) -> tuple[Option, int]:
        """The variant and how many of the waiting jobs to run, the head having so much time left."""
        raise NotImplementedError

    def arrive(self, job: Job, now: float) -> Iterable[Action]:
        """Queue a job and begin what can begin."""
        task = job.request.task
        if task not in self.found:
            self.meet(task, job.request.slo)
        if not self.found[task]:
            return [Reject(job, UNANSWERABLE)]
        self.rates[task].add(now)
        self.queues[task].append(job)
        return self.dispatch(now)

    def ended(self, end: Ended, now: float) -> Iterable[Action]:
        """A slot is free."""
        super().ended(end, now)
        self._running -= 1
        return self.dispatch(now)

    def initial(self) -> Mapping[str, int]:
        """The fleet."""
        return {**super().initial(), self.tier.name: self.copies}

    def tick(self, now: float) -> Iterable[Action]:
        """Load every variant into every copy, at the first."""
        actions: list[Action] = []
        if not self._begun:
            self._begun = True
            for task in self.catalogue.tasks.values():
                self.meet(task.name, task.default_slo)
            actions = [
                Warm(option.placement, "every variant is deployed", self.copies)
                for found in self.found.values()
                for option in found
            ]
        return [*actions, *self.dispatch(now)]

    def meet(self, task: str, slo: Slo) -> None:
        """Learn what may answer a task: what holds the bounds alone, or else the fastest that is accurate enough."""
        on_tier = [o for o in options(self.catalogue, task, slo.percentile, CONTAINERS) if o.tier is self.tier]
        found = list(best_of_each(on_tier))
        accurate = [option for option in found if option.accuracy >= (slo.min_accuracy or 0.0)]
        self.found[task] = feasible(found, slo) or ([fastest(accurate)] if accurate else [])
        self.queues.setdefault(task, deque())
        self.rates.setdefault(task, Rate())

    def dispatch(self, now: float) -> list[Action]:
        """Fill the free slots, the most urgent head first."""
        actions: list[Action] = []
        while self._running < self.units:
            for task, queue in self.queues.items():
                shortest = fastest(self.found[task]).ms[0] / 1000 if queue else 0.0
                while queue and now + shortest > queue[0].deadline:
                    actions.append(Reject(queue.popleft(), LATE))
            waiting = [task for task, queue in self.queues.items() if queue]
            if not waiting:
                break
            task = min(waiting, key=lambda task: self.queues[task][0].deadline)
            queue = self.queues[task]
            option, jobs = self.pick(task, len(queue), (queue[0].deadline - now) * 1000, now)
            self._running += 1
            actions.append(Invoke(option.placement, tuple(queue.popleft() for _ in range(jobs))))
        return actions


def cheapest(catalogue: Catalogue) -> Tier:
    """The container tier whose slot costs least; raises ValueError without a container tier."""
    tiers = [tier for tier in catalogue.tiers.values() if tier.kind in CONTAINERS]
    if not tiers:
        raise ValueError("it runs on containers, and the catalogue has no tier of them")
    return min(tiers, key=lambda tier: (tier.price.usd_per_idle_s / tier.concurrency, tier.name))
