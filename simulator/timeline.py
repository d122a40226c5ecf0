"""An outcome over time: what was asked, what was cold and which variants answered, bin by bin; it only counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from simulator.outcome import NOBODY, Outcome

BINS = 60
"""As many as a terminal has room for, and an hour has minutes."""

NAMED = 7
"""Variants that are told apart, those that answered most; the others are counted together."""

OTHERS = "others"


@dataclass(frozen=True, slots=True)
class Timeline:
    """Counts of requests by when they arrived."""

    width_s: float
    """Of a bin; the first begins at 0."""
    requests: tuple[int, ...]
    kept: tuple[int, ...]
    """Answered as was asked."""
    cold: tuple[int, ...]
    unanswered: tuple[int, ...]
    answered_by: Mapping[str, tuple[int, ...]]
    """By the variant's name without its task, those that answered most first."""


def timeline(outcome: Outcome, seconds: float, bins: int = BINS) -> Timeline:
    """The arrivals before `seconds` in so many bins of one width."""
    width = seconds / bins
    of = np.minimum((outcome.arrived / width).astype(np.int64), bins - 1)

    def counted(which: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> tuple[int, ...]:
        return tuple(np.bincount(of[which], minlength=bins).tolist())

    names = np.array([*(id_.partition("/")[2] for id_ in outcome.variants), ""])
    by = names[outcome.variant]  # NOBODY is the last
    answered = outcome.variant != NOBODY
    kinds, counts = np.unique(by[answered], return_counts=True)
    ordered = kinds[np.argsort(-counts, kind="stable")].tolist()
    named = ordered if len(ordered) <= NAMED + 1 else ordered[:NAMED]
    answered_by = {name: counted(by == name) for name in named}
    if len(named) < len(ordered):
        answered_by[OTHERS] = counted(answered & ~np.isin(by, named))
    return Timeline(
        width_s=width,
        requests=counted(np.ones(len(of), dtype=np.bool_)),
        kept=counted(~np.logical_or.reduce(list(outcome.violations().values()))),
        cold=counted(outcome.cold),
        unanswered=counted(~answered),
        answered_by=answered_by,
    )
