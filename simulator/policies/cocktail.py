"""Cocktail: several variants answer each request and vote; it drops members while the vote is accurate enough.

Gunasekaran et al., Cocktail, NSDI 2022: the dynamic model selection policy, its weighted majority, and pools of each
model that are scaled by predicted load. Every member's run is paid for, and the answer is there when the last of them
is. How right a vote is rests on an assumption, which `vote` and ALIKE state; no simulation can measure it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from registry.catalogue import Catalogue
from registry.model import Slo
from simulator.outcome import Outcome
from simulator.policies.options import fastest, limit_ms
from simulator.policies.pools import FLEET, Lane, Pooled
from simulator.policies.tracking import UNANSWERABLE
from simulator.policy import Action, Ended, Job, Reject

MARGIN_MS = 10.0
"""A model may take so much longer than the bound."""

PERIOD_S = 10
MORE = 1.2
"""Of the predicted load: the last period's largest second, in the place of a trained network."""

ALIKE = 0.82
"""Share of inputs on which all members are right or wrong together. With it the ten models of the paper's table that
take up to 155 ms, of 65 to 73 %, vote to the 76 % that it promises at 155 ms; independent errors would give 90 %."""

MOST_MEMBERS = 10


class Cocktail(Pooled):
    """Pools of each variant on containers; `copies` is the most of each tier."""

    name = "cocktail"

    def __init__(self, catalogue: Catalogue, copies: int = FLEET, *, alike: float = ALIKE) -> None:
        super().__init__(catalogue)
        self._most, self._alike = copies, alike
        self.members: dict[str, list[Lane]] = {}
        self._voted: dict[int, list[float]] = {}
        self._adapted_at = 0.0

    def meet(self, task: str, slo: Slo) -> None:
        """Begin with every model that is fast enough."""
        super().meet(task, slo)
        if task not in self.members:
            lanes = self.lanes_of(task)
            found = [lane for lane in lanes if lane.option.ms[0] <= limit_ms(slo) + MARGIN_MS]
            quickest = fastest([lane.option for lane in lanes]) if lanes else None
            best = sorted(found, key=lambda lane: lane.option.accuracy)[-MOST_MEMBERS:]
            self.members[task] = best or [lane for lane in lanes if lane.option is quickest]
            self._scale(task, 1.0)

    def arrive(self, job: Job, now: float) -> Iterable[Action]:
        """To every member."""
        self.meet(job.request.task, job.request.slo)
        members = self.members[job.request.task]
        if not members:
            return [Reject(job, UNANSWERABLE)]
        for lane in members:
            lane.rate.add(now)
            lane.queue.append(job)
        return [*self.keep(now), *self.dispatch(now)]

    def ended(self, end: Ended, now: float) -> Iterable[Action]:
        """A vote is cast."""
        if not end.ok:  # the others vote without it
            self.lanes[end.invoke.placement.id].running -= 1
            return self.dispatch(now)
        for job in end.invoke.jobs:
            self._voted.setdefault(job.number, []).append(self.lanes[end.invoke.placement.id].option.accuracy)
        return super().ended(end, now)

    def tick(self, now: float) -> list[Action]:
        """Every period, one member fewer or more, and pools for the load; the plan is kept in force every second."""
        self.meet_all()
        if now - self._adapted_at >= PERIOD_S:
            self._adapted_at = now
            for task, members in self.members.items():
                slo = self.slos[task]
                able = [lane for lane in self.lanes_of(task) if lane.option.ms[0] <= limit_ms(slo) + MARGIN_MS]
                self.members[task] = adapted(members, able, slo.min_accuracy, self._alike)
                load = max((lane.rate.peak(now, PERIOD_S) for lane in members), default=0.0)
                self._scale(task, max(load, 1.0))
        return [*super().tick(now)]

    def judged(self, outcome: Outcome) -> Outcome:
        """The outcome with the accuracy of the votes in the place of that of whichever member was last."""
        accuracy = outcome.accuracy.copy()
        for number, votes in self._voted.items():
            accuracy[number] = vote(votes, self._alike)
        return replace(outcome, accuracy=np.where(np.isfinite(outcome.latency_ms), accuracy, 0.0))

    def _scale(self, task: str, load: float) -> None:
        """Units for the load in every member's pool, all less alike where the tier has no room."""
        members = self.members[task]
        wanted = {lane: math.ceil(MORE * load / lane.option.throughput(1)) for lane in members}
        for lane in self.lanes_of(task):
            room = self._most * lane.option.slots
            total = sum(n for other, n in wanted.items() if other.option.tier is lane.option.tier)
            share = min(1.0, room / total) if total else 1.0
            lane.units = max(1, math.floor(wanted[lane] * share)) if lane in wanted else int(lane.running > 0)


def adapted(members: list[Lane], able: list[Lane], target: float | None, alike: float) -> list[Lane]:
    """Without the slowest member that the target does not need, or with the best one that is missing below it.

    Without a bound on accuracy, the target is the most accurate model's.
    """
    goal = max((lane.option.accuracy for lane in able), default=0.0) if target is None else target
    if vote([lane.option.accuracy for lane in members], alike) < goal:
        missing = [lane for lane in able if lane not in members]
        return [*members, missing[-1]] if missing else members
    for slowest in sorted(members, key=lambda lane: -lane.option.ms[0]):
        rest = [lane for lane in members if lane is not slowest]
        if rest and vote([lane.option.accuracy for lane in rest], alike) >= goal:
            return rest
    return members


def vote(accuracies: Sequence[float], alike: float) -> float:
    """P(a weighted majority is right). Members are as one on a share `alike` of the inputs, where the vote is as good
    as the best of them; on the others they err independently, and all who err agree, which is the worst case.

    A member weighs log(a / (1 - a)), which is best for independent errors (Nitzan and Paroush 1982).
    """
    best = max(accuracies)
    if len(accuracies) == 1:
        return best
    weights = [math.log(max(a, 0.501) / max(1 - a, 1e-6)) for a in accuracies]
    right = 0.0
    for outcome in product((True, False), repeat=len(accuracies)):
        if sum(w if correct else -w for w, correct in zip(weights, outcome, strict=True)) > 0:
            right += math.prod(a if correct else 1 - a for a, correct in zip(accuracies, outcome, strict=True))
    return alike * best + (1 - alike) * right
