"""The fleet as a decision reads it: arrays by placement and tier, copied once for all that some events change."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scheduler.changes import TierChanges
from scheduler.layout import Layout
from scheduler.live import LiveColumns
from scheduler.quantiles import Floats
from scheduler.tier_state import TierState

NONE = np.array([], dtype=np.intp)
"""No placement."""


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


def columns_of(
    layout: Layout, tiers: tuple[TierState, ...], failing: Mapping[str, Refusal], quarantined: Mapping[str, str]
) -> Columns:
    """The columns of these states, with no beliefs and nothing judged."""
    count = len(layout.placements)
    restored = restored_in(layout, tiers)
    columns = Columns(
        resident_until=np.full(count, -np.inf),
        holders=np.zeros(count, dtype=np.intp),
        restored=restored,
        any_restored=bool(restored.any()),
        refused_until=_all_refused_until(layout, tiers, failing, quarantined),
        free_until=np.full(len(tiers), -np.inf),
        full=np.zeros(len(tiers), dtype=np.bool_),
        any_full=False,
        wait=np.zeros((2, len(tiers))),
    )
    for number, state in enumerate(tiers):
        _count(columns, number, state)
        for environment in state.environments.values():
            for variant in {*environment.resident}:
                columns.holders[layout.of_variant_on.get((number, variant), NONE)] += 1
        _reside_everywhere(columns, layout, number, state)
    return replace(columns, any_full=bool(columns.full.any()))


def with_tiers(
    columns: Columns,
    layout: Layout,
    tiers: tuple[TierState, ...],
    changed: Mapping[int, TierChanges],
    live: LiveColumns | None,
) -> Columns:
    """The columns after some tiers changed, by number; `live` is what is believed after that."""
    if not changed:
        return replace(columns, live=live)
    any_full = columns.any_full or any(tiers[number].full for number in changed)
    found = Columns(
        columns.resident_until.copy(),
        columns.holders.copy() if any(change.held for change in changed.values()) else columns.holders,
        columns.restored,
        columns.any_restored,
        columns.refused_until,
        columns.free_until.copy(),
        columns.full.copy() if any_full else columns.full,
        any_full,
        columns.wait.copy() if any_full else columns.wait,
        live,
        columns.accuracy,
    )
    for number, change in changed.items():
        state = tiers[number]
        if any_full:
            _count(found, number, state)
        else:
            found.free_until[number] = state.free_until
        for variant, more in change.held.items():
            found.holders[layout.of_variant_on.get((number, variant), NONE)] += more
        if any_full and (state.starved or change.was_starved):
            _reside_everywhere(found, layout, number, state)
        else:
            _reside(found, layout, number, state, change.touched)
    return found if not any_full or found.full.any() else replace(found, any_full=False)


def refused_until(
    layout: Layout,
    tiers: tuple[TierState, ...],
    failing: Mapping[str, Refusal],
    quarantined: Mapping[str, str],
    number: int,
) -> float:
    """Until when (s) not to choose a placement, by number."""
    placement = layout.placements[number]
    if placement.variant in quarantined:
        return math.inf
    refusal = failing.get(placement.id)
    unavailable_until = tiers[int(layout.tier_of[number])].unavailable_until
    return max(unavailable_until, refusal.until) if refusal else unavailable_until


def _all_refused_until(
    layout: Layout, tiers: tuple[TierState, ...], failing: Mapping[str, Refusal], quarantined: Mapping[str, str]
) -> Floats:
    """`refused_until` of every placement; one by one only where more than its tier is the matter."""
    found: Floats = np.array([state.unavailable_until for state in tiers]).take(layout.tier_of)
    troubled = {layout.number[id_] for id_ in failing}
    troubled.update(int(i) for variant in quarantined for i in layout.of_variant.get(variant, NONE))
    for number in troubled:
        found[number] = refused_until(layout, tiers, failing, quarantined, number)
    return found


def restored_in(layout: Layout, tiers: tuple[TierState, ...]) -> NDArray[np.bool_]:
    """Whether each placement's variant is in its tier's snapshot."""
    found = np.zeros(len(layout.placements), dtype=np.bool_)
    for number, state in enumerate(tiers):
        for variant in state.snapshot:
            found[layout.of_variant_on.get((number, variant), NONE)] = True
    return found


def measured_in(layout: Layout) -> Floats:
    """The accuracy of each placement's variant, as measured."""
    variants = layout.catalogue.variants
    return np.array([variants[p.variant].accuracy.value for p in layout.placements], dtype=np.float64)


# The rest writes into columns that nobody has seen yet


def _count(columns: Columns, number: int, state: TierState) -> None:
    full = state.full
    columns.free_until[number], columns.full[number] = state.free_until, full
    columns.wait[:, number] = state.wait if full else 0.0


def _reside(columns: Columns, layout: Layout, number: int, state: TierState, variants: Set[str]) -> None:
    """Until when these variants are resident: as in the last to expire of the free environments with it."""
    until, missing = columns.resident_until, {*variants}
    for environment in reversed(state.tally.free.values()):
        if not missing:
            return
        for variant in missing.intersection(environment.resident):
            until[layout.of_variant_on.get((number, variant), NONE)] = state.expiry(environment)
        missing.difference_update(environment.resident)
    for variant in missing:
        until[layout.of_variant_on.get((number, variant), NONE)] = -math.inf


def _reside_everywhere(columns: Columns, layout: Layout, number: int, state: TierState) -> None:
    """Until when every variant is resident on a tier."""
    until, placements = columns.resident_until, layout.of_tier.get(number, NONE)
    if state.starved:
        # Whichever environment a waiting request gets, it holds what all of them hold.
        everywhere = columns.holders[placements] >= max(1, state.live)
        until[placements] = np.where(everywhere, np.inf, -np.inf)
        return
    until[placements] = -np.inf
    for variant, expiry in state.free_with().items():
        until[layout.of_variant_on.get((number, variant), NONE)] = expiry
