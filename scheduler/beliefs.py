"""What a tier's outcomes say against its placements' profiles, as an immutable value; without outcomes, nothing.

Margins are each task's own, so that one whose inputs nobody can foresee makes no other look late; what it does to
others on the tier shows in their waits, and in their own outcomes.

Placements of one tier share causes (the machine slowed down), so a placement's log pace is the tier's plus its own,
both random with mean 0 and equal variance. Their best linear predictions from the placements' medians m, each believed
by w = n / (n + DOUBTED) and fading, are t = sum(w m) / (sum(w) + 1) and t + w (m - t) (Robinson, That BLUP is a good
thing, Statistical Science 1991, section 2); in t, no m is farther out than SHARED_MOST. A placement without outcomes
moves with its tier: by half of what the only other says, by nearly all of what many others say.

A pace is told only when it changed by more than noise does, and none that is within TOLERANCE of the profile: choices
do not flap, and a placement that does as profiled is decided on by its profile exactly.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from scheduler import coverage
from scheduler.coverage import NO_MARGINS, Margins, faded
from scheduler.drift import Drift

DOUBTED = 2.0
"""Outcomes that weigh as much as the profile."""

TOLERANCE = 0.05
"""A log pace nearer to what is told is not told: profiles taken twice differ by as much."""

SURE = 2.5
"""Standard errors that a pace must have changed by to be told without a change that the CUSUM found."""

SHARED_MOST = math.log(2.0)
"""The most that one placement says of its tier: as much as two processes on one core slow each other down. What is
beyond is taken for its own, such as inputs that one caller makes long; else it made others' placements look slow."""

MOST = math.log(100.0)
"""The farthest from its profile that a placement is believed to be; past this it is failing, not slow."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Log of live over profiled service, and when (s) the last outcome that says so came."""

    log: float = 0.0
    at: float = -math.inf

    def now(self, now: float) -> float:
        """The log pace at a time, faded."""
        return self.log * faded(self.at, now) if self.log else 0.0


@dataclass(frozen=True, slots=True)
class Moved:
    """A task's margins on a tier, and when (s) its last outcome moved them."""

    margins: Margins = NO_MARGINS
    at: float = -math.inf

    def now(self, now: float) -> Margins:
        """The margins at a time, faded."""
        left = faded(self.at, now)
        return tuple([margin * left for margin in self.margins])


@dataclass(frozen=True, slots=True)
class Weighed:
    """Sums over a tier's placements as of a time (s): of their weights, and of their medians by weight.

    All fade alike, so an outcome changes the part of its own placement alone.
    """

    weights: float = 0.0
    total: float = 0.0
    at: float = -math.inf

    def with_drift(self, old: Drift | None, new: Drift, now: float) -> Weighed:
        """With what one placement's outcomes say now in place of what they said."""
        left = faded(self.at, now)
        weights, total = self.weights * left, self.total * left
        for drift, sign in ((old, -1.0), (new, 1.0)):
            if drift is not None:
                weight = sign * _weight(drift, now)
                weights += weight
                total += weight * min(max(drift.median, -SHARED_MOST), SHARED_MOST)
        return Weighed(max(weights, 0.0), total, max(self.at, now))

    @classmethod
    def of(cls, drifts: Iterable[Drift], now: float) -> Weighed:
        """Of all of them."""
        found = cls(at=now)
        for drift in drifts:
            found = found.with_drift(None, drift, now)
        return found

    @property
    def pace(self) -> float:
        """The best linear prediction of what they share."""
        return self.total / (self.weights + 1.0)


@dataclass(frozen=True, slots=True)
class TierBeliefs:
    """What is believed of one tier's placements, by placement id, and of the tasks that they do, by name."""

    drifts: Mapping[str, Drift] = field(default_factory=dict)
    paces: Mapping[str, Pace] = field(default_factory=dict)
    """Of placements with outcomes, as told to decisions."""
    shared: Pace = Pace()
    """Of placements without; a new object whenever there is news of any."""
    moved: Mapping[str, Moved] = field(default_factory=dict)
    """Of tasks with outcomes that were predicted."""
    weighed: Weighed = Weighed()
    """What the drifts say together."""

    def pace(self, placement: str) -> Pace:
        """What is believed of a placement's service."""
        return self.paces.get(placement, self.shared)

    def predicted(
        self, task: str, predicted_ms: tuple[float, ...], latency_ms: float, now: float, *, answered: bool = True
    ) -> TierBeliefs:
        """After an answer to a task that was predicted at each of LEVELS, or none within `latency_ms`."""
        margins = self.moved.get(task, Moved()).now(now)
        moved = Moved(coverage.after(margins, predicted_ms, latency_ms, answered=answered), now)
        return TierBeliefs(self.drifts, self.paces, self.shared, {**self.moved, task: moved}, self.weighed)

    def served(self, placement: str, ratio: float, spread: float, now: float) -> TierBeliefs:
        """After a warm, resident run: its log ratio to the profile's median, and the profile's relative spread."""
        ratio = min(max(ratio, -MOST), MOST)
        known = self.drifts.get(placement)
        drift, changed = (known or Drift()).after(ratio, spread, now)
        drifts, weighed = {**self.drifts, placement: drift}, self.weighed.with_drift(known, drift, now)
        tier = weighed.pace
        before, found = self.pace(placement), _own_pace(drift, tier, now)
        told = before.now(now)
        # What has faded is told anew: an outcome that agrees with what is left must not bring back what was.
        as_told = abs(before.log - told) <= TOLERANCE
        if not changed and as_told and abs(found - told) <= max(TOLERANCE, SURE * drift.error):
            paces = {**self.paces, placement: Pace(before.log, now)}
            return TierBeliefs(drifts, paces, self.shared, self.moved, weighed)
        paces = {id_: Pace(_told(_own_pace(d, tier, now)), d.at) for id_, d in drifts.items()}
        return TierBeliefs(drifts, paces, Pace(_told(tier), now), self.moved, weighed)

    def only(self, placements: Collection[str], tasks: Collection[str]) -> TierBeliefs:
        """Without what is believed of others; of the tier's pace they shared, nothing is left without any."""
        if all(id_ in placements for id_ in self.drifts) and all(task in tasks for task in self.moved):
            return self
        moved = {task: known for task, known in self.moved.items() if task in tasks}
        drifts = {id_: drift for id_, drift in self.drifts.items() if id_ in placements}
        paces = {id_: pace for id_, pace in self.paces.items() if id_ in placements}
        shared, weighed = self.shared if drifts else Pace(), Weighed.of(drifts.values(), self.weighed.at)
        return TierBeliefs(drifts, paces, shared, moved, weighed)


def _own_pace(drift: Drift, tier: float, now: float) -> float:
    """What is believed of one placement, given its tier's pace."""
    return tier + _weight(drift, now) * (drift.median - tier)


def _weight(drift: Drift, now: float) -> float:
    count = len(drift.ratios)
    return count / (count + DOUBTED) * faded(drift.at, now)


def _told(log: float) -> float:
    return log if abs(log) > TOLERANCE else 0.0
