"""Whether what was warmed ahead of requests was asked for while it lasted: counts what came of plans, makes none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from gateway.capacity.arrivals import minute_of
from gateway.capacity.carry_out import Part, Result
from gateway.capacity.report import Report
from registry.activity import Minute
from registry.measures import Measure
from registry.model import Placement, Tier
from scheduler.actions import Provision, Unload, Warm


@dataclass(frozen=True, slots=True)
class _Warmed:
    """Copies that were warmed and are not known to have been asked for."""

    placement: Placement
    copies: int
    at: int
    """The minute in which they were; requests of a later one find them."""
    until: int
    """The last minute in which they are expected to be there."""

    def serves(self, asked: Set[str], minute: int) -> bool:
        """Whether requests for these tasks, in this minute, find them."""
        return self.at < minute <= self.until and self.placement.task in asked


class Foresight:
    """Counts for one planner, or for one of two that share a plan; what it has not seen used is forgotten with it."""

    def __init__(self, part: Part = Part.WHOLE) -> None:
        self._part = part
        self._warmed: dict[str, _Warmed] = {}
        """By placement."""

    def learnt(self, minutes: Iterable[Minute], until: int) -> tuple[Measure, ...]:
        """What was used of the copies, and what nobody will use any more, now that minutes before `until` are known."""
        found: list[Measure] = []
        for minute in minutes:
            asked = {usage.task for usage in minute.usages}
            found += self._end("PrewarmUsed", [w for w in self._warmed.values() if w.serves(asked, minute.minute)])
        return (*found, *self._end("PrewarmWasted", [w for w in self._warmed.values() if w.until < until]))

    def reported(self, report: Report, tiers: Mapping[str, Tier]) -> tuple[Measure, ...]:
        """What a plan warmed, gave up and wants paid for; what is warmed again before it was used had been wasted."""
        at = minute_of(report.at)
        found: list[Measure] = []
        for action in (o.action for o in report.outcomes if isinstance(o.action, Warm) and o.result is Result.DONE):
            placement = action.placement
            found += self._end("PrewarmWasted", [w for w in self._warmed.values() if w.placement == placement])
            lasts = int(max(action.for_s, tiers[placement.tier].idle_timeout_s) // 60)
            self._warmed[placement.id] = _Warmed(placement, action.copies, at, at + max(1, lasts))
            found.append(Measure("PrewarmIssued", action.copies, tier=placement.tier))
        return (*found, *self._counts(report))

    def _counts(self, report: Report) -> Iterator[Measure]:
        for outcome in report.outcomes:
            action = outcome.action
            if isinstance(action, Unload) and outcome.result is Result.DONE:
                yield Measure("ModelEvictions", 1, tier=action.placement.tier)
            # Both parts are told of a count; one of them says so.
            if isinstance(action, Provision) and self._part is not Part.SHRINK:
                yield Measure("CopiesWanted", action.copies, tier=action.tier)

    def _end(self, metric: str, over: Sequence[_Warmed]) -> list[Measure]:
        for warmed in over:
            del self._warmed[warmed.placement.id]
        return [Measure(metric, warmed.copies, tier=warmed.placement.tier) for warmed in over]
