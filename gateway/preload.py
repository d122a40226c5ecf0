"""What a tier's snapshot holds ready, chosen from measured facts; it loads nothing itself."""

from __future__ import annotations

from collections.abc import Iterator

from registry.catalogue import Catalogue
from registry.model import Placement, Profile, StartMode, Tier, Variant

MEMORY_SHARE = 0.5
"""Of a tier's memory; the rest is for what requests bring, and for what is asked for without being preloaded."""

Preload = tuple[Placement, Variant]


def preloads(tier: Tier, catalogue: Catalogue) -> tuple[Preload, ...]:
    """The placements that every copy of this tier's snapshot should hold from its start; none without snapshots.

    The most accurate of each task come first, then the second of each, and so on; one that does not fit in what is
    left of MEMORY_SHARE is passed over. Placements of several threads stay out: their sessions would have to be
    closed before the snapshot and opened again in every copy.
    """
    if tier.start_mode is not StartMode.SNAPSTART:
        return ()
    left_mb = tier.memory_mb * MEMORY_SHARE
    chosen: list[Preload] = []
    for placement, variant, profile in _in_turn(tier, catalogue):
        if profile.memory_mb <= left_mb:
            left_mb -= profile.memory_mb
            chosen.append((placement, variant))
    return tuple(chosen)


def _in_turn(tier: Tier, catalogue: Catalogue) -> Iterator[tuple[Placement, Variant, Profile]]:
    """What can be chosen on the tier, by rank of accuracy within its task."""
    ranked: list[tuple[int, str]] = []
    for task in catalogue.tasks:
        of_task = [
            placement
            for placement in catalogue.placements_of(task)
            if placement.tier == tier.name and placement.threads == 1 and placement.id in catalogue.profiles
        ]
        of_task.sort(key=lambda placement: -catalogue.variants[placement.variant].accuracy.value)
        ranked += [(rank, placement.id) for rank, placement in enumerate(of_task)]
    for _, name in sorted(ranked):
        placement = catalogue.placements[name]
        yield placement, catalogue.variants[placement.variant], catalogue.profiles[name]
