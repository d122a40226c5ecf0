"""What is warm, busy and failing now, and how fast it is, as an immutable value; it changes only by `apply`.

Beside the readable state of each tier the fleet keeps what a decision asks of it in arrays, by the layout's numbers. An
event copies only the arrays that it touches, so a fleet that somebody still holds never changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.catalogue import Catalogue
from scheduler import events
from scheduler import live as beliefs_in_columns
from scheduler.beliefs import TierBeliefs
from scheduler.changes import TierChanges
from scheduler.columns import NONE, Columns, Refusal, columns_of, measured_in, refused_until, restored_in, with_tiers
from scheduler.environments import EnvironmentEvent
from scheduler.errors import FleetError
from scheduler.layout import Layout, layout_of
from scheduler.outcomes import compared
from scheduler.tier_state import TierState, Waiting


@dataclass(frozen=True, slots=True, eq=False)
class Fleet:
    """A snapshot of what runs, for one catalogue snapshot."""

    layout: Layout
    tiers: tuple[TierState, ...]
    """By the layout's tier numbers."""
    failing: Mapping[str, Refusal]
    """By placement id; some may have ended."""
    quarantined: Mapping[str, str]
    """Variant id to reason."""
    columns: Columns
    judged: Mapping[str, float] = field(default_factory=dict)
    """Variant id to its accuracy by the judgements of its answers."""
    beliefs: tuple[TierBeliefs, ...] = ()
    """What outcomes say against the profiles, by the layout's tier numbers."""

    @classmethod
    def empty(cls, catalogue: Catalogue) -> Fleet:
        """A fleet in which nothing runs."""
        layout = layout_of(catalogue)
        tiers = tuple(_empty_tier(layout, i) for i in range(len(layout.tiers)))
        nothing: Mapping[str, Any] = MappingProxyType({})
        beliefs = (TierBeliefs(),) * len(tiers)
        return cls(layout, tiers, nothing, nothing, columns_of(layout, tiers, nothing, nothing), beliefs=beliefs)

    def tier(self, name: str) -> TierState:
        """What runs on a tier; raises FleetError for an unknown one."""
        return self.tiers[self._tier_number(name)]

    def idle_with(self, placement: str) -> int:
        """How many environments of the placement's tier are idle and hold its variant; raises FleetError."""
        found = self.layout.placements[self._placement_number(placement)]
        environments = self.tier(found.tier).environments.values()
        return sum(not e.running and found.variant in e.resident for e in environments)

    def pace(self, placement: str, now: float) -> float:
        """Live over profiled service of a placement, as believed at `now`; 1 without outcomes. Raises FleetError."""
        number = int(self.layout.tier_of[self._placement_number(placement)])
        return math.exp(self.beliefs[number].pace(placement).now(now))

    def as_profiled(self) -> Fleet:
        """This fleet with nothing believed but the profiles."""
        beliefs = (TierBeliefs(),) * len(self.tiers)
        return replace(self, beliefs=beliefs, columns=replace(self.columns, live=None))

    def forgiving(self) -> Fleet:
        """This fleet with no placement avoided for having failed; itself where none is."""
        if not self.failing:
            return self
        numbers = np.array([self.layout.number[id_] for id_ in self.failing])
        return replace(self, failing=MappingProxyType({}))._with_refusals(numbers)

    def apply(self, event: events.Event) -> Fleet:
        """The fleet after `event`; raises FleetError, and changes nothing, for one that cannot have happened."""
        return self.apply_all((event,))

    def apply_all(
        self, happened: Iterable[events.Event], refused: Callable[[events.Event, FleetError], None] | None = None
    ) -> Fleet:
        """The fleet after several events, as `apply` would have it after each; what they touch is copied once.

        An event that cannot have happened changes nothing and is told to `refused`; without it, FleetError is raised.
        """
        course = _Course(self)
        for event in happened:
            try:
                course.apply(event)
            except FleetError as error:
                if refused is None:
                    raise
                refused(event, error)
        return course.settled()

    def follow(self, catalogue: Catalogue) -> Fleet:
        """This fleet's state carried over to another catalogue snapshot, by the names of tiers, placements, variants.

        State of what no longer exists is dropped, except that requests outlive their placement while its tier exists.
        A variant that was made anew is no longer quarantined for what it was made of before.
        A judged accuracy stands until the catalogue says something else of its variant.
        """
        layout = layout_of(catalogue)
        if layout is self.layout:
            return self
        tiers = tuple(self._carried(layout, i) for i in range(len(layout.tiers)))
        failing = {id_: refusal for id_, refusal in self.failing.items() if id_ in layout.number}
        known, new = self.layout.catalogue.variants, catalogue.variants
        same = {id_ for id_, variant in new.items() if id_ in known and variant.artifact == known[id_].artifact}
        quarantined = {id_: reason for id_, reason in self.quarantined.items() if id_ in same}
        beliefs = tuple(self._believed(layout, tier.name) for tier in layout.tiers)
        as_of = self.columns.live.as_of if self.columns.live is not None else -math.inf
        live = beliefs_in_columns.columns_of(layout, beliefs, as_of)
        columns = replace(columns_of(layout, tiers, failing, quarantined), live=live)
        followed = Fleet(layout, tiers, failing, quarantined, columns, beliefs=beliefs)
        judged = {id_: value for id_, value in self.judged.items() if new.get(id_) == known[id_]}
        return followed._with_judged(judged) if judged else followed

    def _believed(self, layout: Layout, tier: str) -> TierBeliefs:
        """A tier's beliefs, about the placements whose profile is the same in another layout, and its tasks."""
        number = self.layout.tier_number.get(tier)
        if number is None:
            return TierBeliefs()
        old, new = self.layout.catalogue.profiles, layout.catalogue.profiles
        known = self.beliefs[number]
        same = {id_ for id_ in known.drifts if id_ in new and new[id_] == old.get(id_)}
        return known.only(same, layout.spans)

    def _carried(self, layout: Layout, number: int) -> TierState:
        fresh = _empty_tier(layout, number)
        old_number = self.layout.tier_number.get(layout.tiers[number].name)
        if old_number is None:
            return fresh
        old = self.tiers[old_number]
        environments = {name: replace(e, slots=max(fresh.slots, e.running)) for name, e in old.environments.items()}
        return replace(
            fresh,
            environments=environments,
            outstanding=old.outstanding,
            snapshot=old.snapshot,
            unavailable_until=old.unavailable_until,
            reason=old.reason,
        )

    def _tier_number(self, name: str) -> int:
        try:
            return self.layout.tier_number[name]
        except KeyError:
            raise FleetError(f"no tier {name!r} in catalogue version {self.layout.catalogue.version}") from None

    def _placement_number(self, id_: str) -> int:
        try:
            return self.layout.number[id_]
        except KeyError:
            raise FleetError(f"no placement {id_!r} in catalogue version {self.layout.catalogue.version}") from None

    def _with_judged(self, judged: Mapping[str, float]) -> Fleet:
        accuracy = measured_in(self.layout) if self.columns.accuracy is None else self.columns.accuracy.copy()
        for variant, value in judged.items():
            accuracy[self.layout.of_variant.get(variant, NONE)] = value
        return replace(self, judged=judged, columns=replace(self.columns, accuracy=accuracy))

    def _with_refusals(self, touched: NDArray[np.intp]) -> Fleet:
        until = self.columns.refused_until.copy()
        for i in touched:
            until[i] = refused_until(self.layout, self.tiers, self.failing, self.quarantined, int(i))
        return replace(self, columns=replace(self.columns, refused_until=until))


class _Course:
    """A fleet while events happen to it: those that come with every request are gathered, the others taken one by one.

    An event is checked before it changes anything.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._begin(fleet)

    def _begin(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._tiers: dict[int, TierChanges] = {}
        self._beliefs = fleet.beliefs
        self._live = fleet.columns.live

    def apply(self, event: events.Event) -> None:
        """Take an event in; raises FleetError."""
        gather = _GATHER.get(type(event))
        if gather is not None:
            gather(self, event)
        else:
            self._begin(_APPLY[type(event)](self.settled(), event))

    def settled(self) -> Fleet:
        """The fleet after all of them."""
        old = self._fleet
        if not self._tiers and self._beliefs is old.beliefs:
            return old
        tiers = list(old.tiers)
        for number, change in self._tiers.items():
            tiers[number] = change.frozen()
        after = tuple(tiers)
        columns = with_tiers(old.columns, old.layout, after, self._tiers, self._live)
        return Fleet(old.layout, after, old.failing, old.quarantined, columns, old.judged, self._beliefs)

    def environment(self, event: EnvironmentEvent) -> None:
        """An environment's life goes on."""
        self._tier(self._fleet._tier_number(event.tier)).apply(event)

    def queued(self, event: events.Queued) -> None:
        """A request waits."""
        layout, ms = self._fleet.layout, event.expected_ms
        placement = self._fleet._placement_number(event.placement)
        if not (ms >= 0 and math.isfinite(ms * ms)):  # squared for the spread
            raise FleetError(f"request {event.request!r} cannot be expected to take {ms} ms")
        waiting = Waiting(ms, layout.variation[placement] * ms**2, layout.shared[placement])
        self._tier(int(layout.tier_of[placement])).wait((event.placement, event.request), waiting)

    def finished(self, event: events.Finished) -> None:
        """A request waits and runs no more."""
        ticket = (event.placement, event.request)
        # Looked up by ticket and not by placement: a request may outlive its placement's place in the catalogue.
        for number, state in enumerate(self._fleet.tiers):
            change = self._tiers.get(number)
            if change is None and ticket in state.outstanding:
                change = self._tier(number)
            if change is not None and change.leave(ticket):
                return
        raise FleetError(f"request {event.request!r} is not queued for {event.placement!r}")

    def measured(self, event: events.Measured) -> None:
        """An outcome says how fast a placement is, and how good predictions are."""
        layout, placement = self._fleet.layout, self._fleet._placement_number(event.placement)
        number = int(layout.tier_of[placement])
        old = self._beliefs[number]
        new = compared(old, layout, placement, event)
        self._beliefs = (*self._beliefs[:number], new, *self._beliefs[number + 1 :])
        told = new.shared is not old.shared
        self._live = beliefs_in_columns.with_tier(self._live, layout, self._beliefs, placement, event.now, told=told)

    def _tier(self, number: int) -> TierChanges:
        change = self._tiers.get(number)
        if change is None:
            change = self._tiers[number] = TierChanges(self._fleet.tiers[number])
        return change


_GATHER: Mapping[type, Callable[[_Course, Any], None]] = {
    events.Queued: _Course.queued,
    events.Finished: _Course.finished,
    events.Measured: _Course.measured,
    events.EnvironmentStarting: _Course.environment,
    events.EnvironmentReady: _Course.environment,
    events.EnvironmentBusy: _Course.environment,
    events.EnvironmentGone: _Course.environment,
}
"""Event that is gathered to what takes it in."""


def _snapshot_taken(fleet: Fleet, event: events.SnapshotTaken) -> Fleet:
    number = fleet._tier_number(event.tier)
    state = replace(fleet.tiers[number], snapshot=frozenset(event.resident))
    tiers = (*fleet.tiers[:number], state, *fleet.tiers[number + 1 :])
    restored = restored_in(fleet.layout, tiers)
    columns = replace(fleet.columns, restored=restored, any_restored=bool(restored.any()))
    return replace(fleet, tiers=tiers, columns=columns)


def _tier_unavailable(fleet: Fleet, event: events.TierUnavailable) -> Fleet:
    number = fleet._tier_number(event.tier)
    state = replace(fleet.tiers[number], unavailable_until=_instant(event.until), reason=event.reason)
    tiers = (*fleet.tiers[:number], state, *fleet.tiers[number + 1 :])
    return replace(fleet, tiers=tiers)._with_refusals(fleet.layout.of_tier.get(number, NONE))


def _placement_failed(fleet: Fleet, event: events.PlacementFailed) -> Fleet:
    placement = fleet._placement_number(event.placement)
    failing = {**fleet.failing, event.placement: Refusal(event.reason, _instant(event.until))}
    return replace(fleet, failing=failing)._with_refusals(np.array([placement]))


def _quarantined(fleet: Fleet, event: events.VariantQuarantined) -> Fleet:
    if event.variant not in fleet.layout.catalogue.variants:
        raise FleetError(f"no variant {event.variant!r} in catalogue version {fleet.layout.catalogue.version}")
    quarantined = {**fleet.quarantined, event.variant: event.reason}
    return replace(fleet, quarantined=quarantined)._with_refusals(fleet.layout.of_variant.get(event.variant, NONE))


def _cleared(fleet: Fleet, event: events.VariantCleared) -> Fleet:
    if event.variant not in fleet.quarantined:
        raise FleetError(f"variant {event.variant!r} is not quarantined")
    quarantined = {id_: reason for id_, reason in fleet.quarantined.items() if id_ != event.variant}
    return replace(fleet, quarantined=quarantined)._with_refusals(fleet.layout.of_variant.get(event.variant, NONE))


def _accuracy_judged(fleet: Fleet, event: events.AccuracyJudged) -> Fleet:
    if event.variant not in fleet.layout.catalogue.variants:
        raise FleetError(f"no variant {event.variant!r} in catalogue version {fleet.layout.catalogue.version}")
    if not 0.0 <= event.accuracy <= 1.0:
        raise FleetError(f"variant {event.variant!r} cannot have an accuracy of {event.accuracy}")
    return fleet._with_judged({**fleet.judged, event.variant: event.accuracy})


_APPLY: Mapping[type, Callable[[Fleet, Any], Fleet]] = {
    events.SnapshotTaken: _snapshot_taken,
    events.TierUnavailable: _tier_unavailable,
    events.PlacementFailed: _placement_failed,
    events.VariantQuarantined: _quarantined,
    events.VariantCleared: _cleared,
    events.AccuracyJudged: _accuracy_judged,
}
"""Any other event to what it does; an event that is not here either is none."""


def _instant(until: float) -> float:
    if math.isnan(until):
        raise FleetError("`until` is not a time; give seconds on the caller's clock")
    return until


def _empty_tier(layout: Layout, number: int) -> TierState:
    return TierState(layout.tiers[number].concurrency, layout.slots(number), layout.idle_timeout_s(number))
