"""Tries again what was left because it had become slow: nothing else would tell that it recovered; pure, runs nothing.

A placement that is not chosen gets no requests, and so no outcomes that could mend what is believed of it. Every so
many requests one that was answered is worth running again on such a placement, in the background: one whose belief, and
not its profile, keeps it from being chosen. While it stays slow that is done ever less often.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice, takewhile

from registry.model import LEVELS, Estimate
from scheduler.choose import choose
from scheduler.decision import Decision
from scheduler.fleet import Fleet
from scheduler.ranking import Ranking

EVERY = 7
"""Requests of a task for each probe, at least: a seventh more work in the worst case, and seven outcomes within the 50
requests in which a recovery is to be noticed, where four suffice (scheduler.drift). A prime, so that callers who take
turns all have theirs."""

PATIENCE = 2
"""A placement that stays slow is tried again after 2 EVERY, and then always after (1 + PATIENCE) EVERY requests."""

FOLLOW_UP = 3
"""Requests after which a placement is tried again that seems to have recovered: one good outcome is no proof."""

WORSE = 1.05
"""Times its profile that a placement must be expected to take for its belief to be what counts."""

LOOKED_AT = 8
"""Placements ahead of the chosen one, by profile, that are looked at."""

FASTER = LEVELS.index(0.10)
"""A probe that takes less than was expected at this level is taken for a sign of recovery."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Run an answered request's inputs on this placement once more, in the background, and why."""

    estimate: Estimate
    reason: str


@dataclass(frozen=True, slots=True)
class Probing:
    """How many requests were answered, and what was tried when; by task and by placement id."""

    answered: Mapping[str, int] = field(default_factory=dict)
    tried: Mapping[str, int] = field(default_factory=dict)
    """Placement to its task's count when it was last tried."""
    slow: Mapping[str, int] = field(default_factory=dict)
    """Placement to probes in a row that found it no faster than believed."""
    again: Mapping[str, int] = field(default_factory=dict)
    """Task to the count at which something that seems to have recovered is tried again."""
    under_way: frozenset[str] = frozenset()
    """Tiers that a probe runs on."""

    def after(self, decision: Decision, fleet: Fleet, now: float) -> tuple[Probing, Probe | None]:
        """After a request was answered as decided: what to try now, if anything, on the fleet as it is now."""
        task = decision.request.task
        count = self.answered.get(task, 0) + 1
        counted = replace(self, answered={**self.answered, task: count})
        if count % EVERY and count != self.again.get(task):
            return counted, None
        due = [e for e in _left(decision) if counted._due(e, count) and _free(fleet, e, now)]
        if not due:
            return counted, None
        estimate = min(due, key=lambda e: self.tried.get(e.placement.id, -1))
        placement = estimate.placement
        tried = {**self.tried, placement.id: count}
        started = replace(counted, tried=tried, under_way=self.under_way | {placement.tier})
        return started, Probe(estimate, f"by its profile {placement.id} would be chosen, were it not believed slow")

    def ended(self, probe: Probe, latency_ms: float | None) -> Probing:
        """After a probe took so long since it was asked for; None when it gave no answer."""
        placement, expected = probe.estimate.placement, probe.estimate.quantiles_ms
        faster = latency_ms is not None and latency_ms < expected[FASTER]
        ended = replace(self, under_way=self.under_way - {placement.tier})
        if not faster:
            return replace(ended, slow={**self.slow, placement.id: self.slow.get(placement.id, 0) + 1})
        again = self.answered.get(placement.task, 0) + FOLLOW_UP
        return replace(ended, slow={**self.slow, placement.id: 0}, again={**self.again, placement.task: again})

    def _due(self, estimate: Estimate, count: int) -> bool:
        placement = estimate.placement
        if placement.tier in self.under_way:
            return False
        last, slow = self.tried.get(placement.id), self.slow.get(placement.id, 0)
        pause = EVERY * (1 + min(slow, PATIENCE)) if slow else FOLLOW_UP
        return last is None or count - last >= pause


def _left(decision: Decision) -> Iterator[Estimate]:
    """What is expected of the placements that are ahead of the chosen one by their profiles, and are believed slow."""
    if not decision.ranked or decision.fleet.columns.live is None:
        return
    chosen, outlook = decision.ranked[0].placement, decision.ranked.outlook
    catalogue = decision.fleet.layout.catalogue
    profiled = choose(decision.request, catalogue, decision.fleet.as_profiled(), decision.now).ranked
    ahead = takewhile(lambda e: e.placement.id != chosen.id, profiled)
    for by_profile in islice(ahead, LOOKED_AT):
        i = _number(decision.ranked, by_profile)
        if outlook.latency_ms[i] > WORSE * by_profile.latency_ms:
            yield outlook.estimate(i, ())


def _number(ranking: Ranking, estimate: Estimate) -> int:
    table = ranking.outlook.table
    return table.layout.number[estimate.placement.id] - table.span.start


def _free(fleet: Fleet, estimate: Estimate, now: float) -> bool:
    """Whether its tier has a warm slot that nobody waits for, and one beside it: who comes meanwhile is not to wait."""
    number = fleet.layout.tier_number.get(estimate.placement.tier)
    if number is None or fleet.tiers[number].occupied + 1 >= fleet.tiers[number].capacity:
        return False
    return bool(fleet.columns.free_until[number] > now)
