"""Numbers every tier and placement of a catalogue snapshot, so that state can live in arrays; holds no state."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from registry.catalogue import Catalogue
from registry.model import SHARED, Placement, StartMode, Tier, TierKind
from scheduler.quantiles import deviation

K = TypeVar("K")
Indices = NDArray[np.intp]

BATCHING = frozenset({TierKind.CONTAINER, TierKind.GPU})
"""Kinds of tier whose queued requests share runs."""

KEPT = frozenset({StartMode.ALWAYS, StartMode.PROVISIONED})
"""Start modes whose environments do not expire when idle."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where a task's placements lie: measured ones in [start, measured), the others in [measured, stop)."""

    start: int
    measured: int
    stop: int


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The numbering of one catalogue snapshot."""

    catalogue: Catalogue
    tiers: tuple[Tier, ...]
    """By name."""
    tier_number: Mapping[str, int]
    placements: tuple[Placement, ...]
    """By task, then measured ones first, then id; so a task's columns are slices, not copies."""
    number: Mapping[str, int]
    """Placement id to its index."""
    spans: Mapping[str, Span]
    """By task."""
    tier_of: Indices
    """Tier number of each placement."""
    of_tier: Mapping[int, Indices]
    of_variant: Mapping[str, Indices]
    of_variant_on: Mapping[tuple[int, str], Indices]
    """Tier number and variant id to placements, which share what is resident."""
    variation: tuple[float, ...]
    """Squared coefficient of variation of each placement's smallest measured batch; 0 where nothing is measured."""
    shared: tuple[float, ...]
    """The part of a request's service that those queued behind it wait for: 1, or less where they share runs."""

    def slots(self, tier: int) -> int:
        """How many requests one environment of the tier runs at once."""
        found = self.tiers[tier]
        return found.concurrency if found.kind in SHARED else 1

    def idle_timeout_s(self, tier: int) -> float:
        """For how long an idle environment of the tier stays; infinite where it always does."""
        found = self.tiers[tier]
        return math.inf if found.start_mode in KEPT else found.idle_timeout_s


def layout_of(catalogue: Catalogue) -> Layout:
    """The layout of a snapshot; made once, then always the same object."""
    return catalogue.derived(_build, _build)


def _build(catalogue: Catalogue) -> Layout:
    tiers = tuple(tier for _, tier in sorted(catalogue.tiers.items()))
    tier_number = {tier.name: i for i, tier in enumerate(tiers)}
    placements: list[Placement] = []
    spans: dict[str, Span] = {}
    for task in sorted(catalogue.tasks):
        of_task = catalogue.placements_of(task)
        measured = [p for p in of_task if p.id in catalogue.profiles]
        start = len(placements)
        placements += [*measured, *(p for p in of_task if p.id not in catalogue.profiles)]
        spans[task] = Span(start, start + len(measured), len(placements))
    return Layout(
        catalogue=catalogue,
        tiers=tiers,
        tier_number=tier_number,
        placements=tuple(placements),
        number={p.id: i for i, p in enumerate(placements)},
        spans=spans,
        tier_of=np.array([tier_number[p.tier] for p in placements], dtype=np.intp),
        of_tier=_groups(tier_number[p.tier] for p in placements),
        of_variant=_groups(p.variant for p in placements),
        of_variant_on=_groups((tier_number[p.tier], p.variant) for p in placements),
        variation=tuple(_variation(catalogue, p) for p in placements),
        shared=tuple(_shared(catalogue, p) for p in placements),
    )


def _groups(keys: Iterable[K]) -> Mapping[K, Indices]:
    found: defaultdict[K, list[int]] = defaultdict(list)
    for i, key in enumerate(keys):
        found[key].append(i)
    return {key: np.array(indices, dtype=np.intp) for key, indices in found.items()}


def _variation(catalogue: Catalogue, placement: Placement) -> float:
    profile = catalogue.profiles.get(placement.id)
    if profile is None or profile.service[0].latency.mean <= 0:
        return 0.0
    latency = profile.service[0].latency
    return float(deviation(np.array([latency.ms]).T)[0]) ** 2 / latency.mean**2


def _shared(catalogue: Catalogue, placement: Placement) -> float:
    """What a row costs in the best run that requests share, over what it costs alone.

    What is billed is the run, which they share; the rest of the latency is each request's own.
    """
    profile = catalogue.profiles.get(placement.id)
    if profile is None or catalogue.tiers[placement.tier].kind not in BATCHING:
        return 1.0
    alone = profile.service[0]
    if alone.latency.mean <= 0:
        return 1.0
    own_ms = max(0.0, alone.latency.mean - alone.billed_ms)
    run_ms = min(s.billed_ms / s.rows for s in profile.service if s.rows <= placement.max_batch or s is alone)
    return min(1.0, (own_ms + run_ms) / alone.latency.mean)
