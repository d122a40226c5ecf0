"""What is warm, busy and failing now, and how fast it is, as an immutable value; it changes only by `apply`.

Beside the readable state of each tier the fleet keeps what a decision asks of it in arrays, by the layout's numbers. An
event copies only the arrays that it touches, so a fleet that somebody still holds never changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.catalogue import Catalogue
from scheduler import events
from scheduler.beliefs import TierBeliefs
from scheduler.environments import Environment, EnvironmentEvent
from scheduler.errors import FleetError
from scheduler.layout import Layout, layout_of
from scheduler.live import LiveColumns, columns_of, with_tier
from scheduler.outcomes import compared
from scheduler.quantiles import Floats
from scheduler.tier_state import TierState, Waiting


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a placement is avoided, and until when (s)."""

    reason: str
    until: float


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The fleet as a decision reads it; arrays by placement, then by tier, of the layout."""

    resident_until: Floats
    """Until when (s) a request finds the placement's variant resident, in a free environment or after a wait."""
    holders: NDArray[np.intp]
    """Ready environments of the placement's tier that hold its variant."""
    restored: NDArray[np.bool_]
    """Whether a new environment of the placement's tier starts with its variant resident."""
    any_restored: bool
    refused_until: Floats
    """Until when (s) not to choose the placement: tier unavailable, placement failing or variant quarantined."""
    free_until: Floats
    """Until when (s) the tier has a warm environment for one more request."""
    full: NDArray[np.bool_]
    """Whether the tier can start no more; a request that finds nothing free there waits."""
    any_full: bool
    wait: Floats
    """Mean (ms) and variance (ms²) of the wait for a slot, [2, tiers]; holds where the tier is full."""
    live: LiveColumns | None = None
    """What outcomes say against the profiles; None before the first."""
    accuracy: Floats | None = None
    """Accuracy of each placement's variant, judged ones as judged; None while nothing is judged."""


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
        return cls(layout, tiers, nothing, nothing, _columns(layout, tiers, nothing, nothing), beliefs=beliefs)

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

    def apply(self, event: events.Event) -> Fleet:
        """The fleet after `event`; raises FleetError, and changes nothing, for one that cannot have happened."""
        return _APPLY[type(event)](self, event)

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
        columns = replace(_columns(layout, tiers, failing, quarantined), live=columns_of(layout, beliefs, as_of))
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

    def _with_tier(self, number: int, state: TierState, variants: Collection[str] = ()) -> Fleet:
        """With a tier's state; `variants` are those that an environment held or holds now."""
        tiers = (*self.tiers[:number], state, *self.tiers[number + 1 :])
        columns = _tier_columns(self.columns, number, state)
        if variants or state.starved or self.tiers[number].starved:
            columns = _resident_columns(columns, self.layout, number, state, variants)
        return replace(self, tiers=tiers, columns=columns)

    def _with_judged(self, judged: Mapping[str, float]) -> Fleet:
        accuracy = _measured(self.layout) if self.columns.accuracy is None else self.columns.accuracy.copy()
        for variant, value in judged.items():
            accuracy[self.layout.of_variant.get(variant, _NONE)] = value
        return replace(self, judged=judged, columns=replace(self.columns, accuracy=accuracy))

    def _with_refusals(self, touched: NDArray[np.intp]) -> Fleet:
        until = self.columns.refused_until.copy()
        for i in touched:
            until[i] = _refused_until(self.layout, self.tiers, self.failing, self.quarantined, int(i))
        return replace(self, columns=replace(self.columns, refused_until=until))


def _environment(fleet: Fleet, event: EnvironmentEvent) -> Fleet:
    number = fleet._tier_number(event.tier)
    state = fleet.tiers[number]
    old = state.environments.get(event.environment) or Environment(slots=state.slots)
    new = old.after(event)
    return fleet._with_tier(number, state.with_environment(event.environment, new), {*old.resident, *new.resident})


def _snapshot_taken(fleet: Fleet, event: events.SnapshotTaken) -> Fleet:
    number = fleet._tier_number(event.tier)
    state = replace(fleet.tiers[number], snapshot=frozenset(event.resident))
    tiers = (*fleet.tiers[:number], state, *fleet.tiers[number + 1 :])
    restored = _restored(fleet.layout, tiers)
    columns = replace(fleet.columns, restored=restored, any_restored=bool(restored.any()))
    return replace(fleet, tiers=tiers, columns=columns)


def _queued(fleet: Fleet, event: events.Queued) -> Fleet:
    placement = fleet._placement_number(event.placement)
    number = int(fleet.layout.tier_of[placement])
    ticket = (event.placement, event.request)
    if not (event.expected_ms >= 0 and math.isfinite(event.expected_ms * event.expected_ms)):  # squared for the spread
        raise FleetError(f"request {event.request!r} cannot be expected to take {event.expected_ms} ms")
    if ticket in fleet.tiers[number].outstanding:
        raise FleetError(f"request {event.request!r} is queued for {event.placement!r} already")
    variance = float(fleet.layout.variation[placement]) * event.expected_ms**2
    waiting = Waiting(event.expected_ms, variance, float(fleet.layout.shared[placement]))
    return fleet._with_tier(number, fleet.tiers[number].with_waiting(ticket, waiting))


def _finished(fleet: Fleet, event: events.Finished) -> Fleet:
    ticket = (event.placement, event.request)
    # Looked up by ticket and not by placement: a request may outlive its placement's place in the catalogue.
    for number, state in enumerate(fleet.tiers):
        if ticket in state.outstanding:
            return fleet._with_tier(number, state.with_waiting(ticket, None))
    raise FleetError(f"request {event.request!r} is not queued for {event.placement!r}")


def _answered(fleet: Fleet, event: events.Measured) -> Fleet:
    placement = fleet._placement_number(event.placement)
    number = int(fleet.layout.tier_of[placement])
    old = fleet.beliefs[number]
    new = compared(old, fleet.layout, placement, event)
    beliefs = (*fleet.beliefs[:number], new, *fleet.beliefs[number + 1 :])
    told = new.shared is not old.shared
    live = with_tier(fleet.columns.live, fleet.layout, beliefs, placement, event.now, told=told)
    return replace(fleet, beliefs=beliefs, columns=replace(fleet.columns, live=live))


def _tier_unavailable(fleet: Fleet, event: events.TierUnavailable) -> Fleet:
    number = fleet._tier_number(event.tier)
    state = replace(fleet.tiers[number], unavailable_until=_instant(event.until), reason=event.reason)
    tiers = (*fleet.tiers[:number], state, *fleet.tiers[number + 1 :])
    return replace(fleet, tiers=tiers)._with_refusals(fleet.layout.of_tier.get(number, _NONE))


def _placement_failed(fleet: Fleet, event: events.PlacementFailed) -> Fleet:
    placement = fleet._placement_number(event.placement)
    failing = {**fleet.failing, event.placement: Refusal(event.reason, _instant(event.until))}
    return replace(fleet, failing=failing)._with_refusals(np.array([placement]))


def _quarantined(fleet: Fleet, event: events.VariantQuarantined) -> Fleet:
    if event.variant not in fleet.layout.catalogue.variants:
        raise FleetError(f"no variant {event.variant!r} in catalogue version {fleet.layout.catalogue.version}")
    quarantined = {**fleet.quarantined, event.variant: event.reason}
    return replace(fleet, quarantined=quarantined)._with_refusals(fleet.layout.of_variant.get(event.variant, _NONE))


def _cleared(fleet: Fleet, event: events.VariantCleared) -> Fleet:
    if event.variant not in fleet.quarantined:
        raise FleetError(f"variant {event.variant!r} is not quarantined")
    quarantined = {id_: reason for id_, reason in fleet.quarantined.items() if id_ != event.variant}
    return replace(fleet, quarantined=quarantined)._with_refusals(fleet.layout.of_variant.get(event.variant, _NONE))


def _accuracy_judged(fleet: Fleet, event: events.AccuracyJudged) -> Fleet:
    if event.variant not in fleet.layout.catalogue.variants:
        raise FleetError(f"no variant {event.variant!r} in catalogue version {fleet.layout.catalogue.version}")
    if not 0.0 <= event.accuracy <= 1.0:
        raise FleetError(f"variant {event.variant!r} cannot have an accuracy of {event.accuracy}")
    return fleet._with_judged({**fleet.judged, event.variant: event.accuracy})


_NONE = np.array([], dtype=np.intp)

_APPLY: Mapping[type, Callable[[Fleet, Any], Fleet]] = {
    events.Queued: _queued,
    events.Finished: _finished,
    events.Measured: _answered,
    events.EnvironmentStarting: _environment,
    events.EnvironmentReady: _environment,
    events.EnvironmentBusy: _environment,
    events.EnvironmentGone: _environment,
    events.SnapshotTaken: _snapshot_taken,
    events.TierUnavailable: _tier_unavailable,
    events.PlacementFailed: _placement_failed,
    events.VariantQuarantined: _quarantined,
    events.VariantCleared: _cleared,
    events.AccuracyJudged: _accuracy_judged,
}
"""Event to what it does; an event that is not here is none."""


def _instant(until: float) -> float:
    if math.isnan(until):
        raise FleetError("`until` is not a time; give seconds on the caller's clock")
    return until


def _empty_tier(layout: Layout, number: int) -> TierState:
    return TierState(layout.tiers[number].concurrency, layout.slots(number), layout.idle_timeout_s(number))


def _refused_until(
    layout: Layout,
    tiers: tuple[TierState, ...],
    failing: Mapping[str, Refusal],
    quarantined: Mapping[str, str],
    number: int,
) -> float:
    placement = layout.placements[number]
    if placement.variant in quarantined:
        return math.inf
    refusal = failing.get(placement.id)
    unavailable_until = tiers[int(layout.tier_of[number])].unavailable_until
    return max(unavailable_until, refusal.until) if refusal else unavailable_until


def _columns(
    layout: Layout, tiers: tuple[TierState, ...], failing: Mapping[str, Refusal], quarantined: Mapping[str, str]
) -> Columns:
    count = len(layout.placements)
    restored = _restored(layout, tiers)
    columns = Columns(
        resident_until=np.full(count, -np.inf),
        holders=np.zeros(count, dtype=np.intp),
        restored=restored,
        any_restored=bool(restored.any()),
        refused_until=np.array([_refused_until(layout, tiers, failing, quarantined, i) for i in range(count)]),
        free_until=np.full(len(tiers), -np.inf),
        full=np.zeros(len(tiers), dtype=np.bool_),
        any_full=False,
        wait=np.zeros((2, len(tiers))),
    )
    for number, state in enumerate(tiers):
        columns = _tier_columns(columns, number, state)
        held = {variant for e in state.environments.values() for variant in e.resident}
        columns = _resident_columns(columns, layout, number, state, held)
    return columns


def _restored(layout: Layout, tiers: tuple[TierState, ...]) -> NDArray[np.bool_]:
    found = np.zeros(len(layout.placements), dtype=np.bool_)
    for number, state in enumerate(tiers):
        for variant in state.snapshot:
            found[layout.of_variant_on.get((number, variant), _NONE)] = True
    return found


def _measured(layout: Layout) -> Floats:
    variants = layout.catalogue.variants
    return np.array([variants[p.variant].accuracy.value for p in layout.placements], dtype=np.float64)


def _tier_columns(columns: Columns, number: int, state: TierState) -> Columns:
    free_until, full, wait = columns.free_until.copy(), columns.full.copy(), columns.wait.copy()
    free_until[number], full[number], wait[:, number] = state.free_until, state.full, state.wait
    return replace(columns, free_until=free_until, full=full, any_full=bool(full.any()), wait=wait)


def _resident_columns(
    columns: Columns, layout: Layout, number: int, state: TierState, variants: Iterable[str]
) -> Columns:
    """What is resident on a tier, after the number of holders of these variants has changed."""
    resident_until, holders = columns.resident_until.copy(), columns.holders.copy()
    for variant in variants:
        holders[layout.of_variant_on.get((number, variant), _NONE)] = state.holders(variant)
    placements = layout.of_tier.get(number, _NONE)
    if state.starved:
        # Whichever environment a waiting request gets, it holds what all of them hold.
        everywhere = holders[placements] >= max(1, state.live)
        resident_until[placements] = np.where(everywhere, np.inf, -np.inf)
    else:
        resident_until[placements] = -np.inf
        for variant, until in state.free_with().items():
            resident_until[layout.of_variant_on.get((number, variant), _NONE)] = until
    return replace(columns, resident_until=resident_until, holders=holders)
