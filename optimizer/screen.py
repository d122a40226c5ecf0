"""Which generated variants earn a place beside what exists; a rule over measured numbers, and never a measurement.

A variant is dropped when one that is kept is at least as good on every axis: accuracy, time at one row, time a row at
the largest batch, the rows in it, load time, private memory, bytes, and the tiers that it may be placed on. To lie
between two others is a reason to be kept: so may a caller's bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from types import MappingProxyType

from optimizer.prepack import GAIN, clearly_faster

LEAST_MB = 0.5
"""The least difference of private memory that counts: copies of one small variant differ by some tenths
(optimizer.memory counts pages, and the C library rounds up)."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one variant; times by turn, all variants side by side in each."""

    accuracy: float
    row_ms: tuple[float, ...]
    """One row."""
    batch_row_ms: tuple[float, ...]
    """Its largest batch, divided by the rows in it."""
    load_ms: tuple[float, ...]
    memory_mb: float
    size_bytes: int
    max_batch: int
    """Rows in its largest batch: larger ones of callers are for others."""
    tiers: frozenset[str] = frozenset()
    """Names of those that it may be placed on."""

    def numbers(self, of: str = "") -> tuple[tuple[str, float], ...]:
        """By name, units at the end, medians of times; `of` stands before each name."""
        return (
            (f"{of}accuracy", self.accuracy),
            (f"{of}p50_ms", median(self.row_ms)),
            (f"{of}batch_row_p50_ms", median(self.batch_row_ms)),
            (f"{of}load_ms", median(self.load_ms)),
            (f"{of}memory_mb", self.memory_mb),
            (f"{of}size_bytes", float(self.size_bytes)),
        )


AXES: Mapping[str, Callable[[Figures, Figures], bool]] = MappingProxyType(
    {
        "accuracy": lambda a, b: a.accuracy > b.accuracy,
        "p50_ms": lambda a, b: clearly_faster(a.row_ms, b.row_ms),
        "batch_row_p50_ms": lambda a, b: clearly_faster(a.batch_row_ms, b.batch_row_ms),
        "max_batch": lambda a, b: a.max_batch > b.max_batch,
        "load_ms": lambda a, b: clearly_faster(a.load_ms, b.load_ms),
        "memory_mb": lambda a, b: b.memory_mb - a.memory_mb >= max(LEAST_MB, GAIN * b.memory_mb),
        "size_bytes": lambda a, b: a.size_bytes <= (1 - GAIN) * b.size_bytes,
        "tiers": lambda a, b: not a.tiers <= b.tiers,
    }
)
"""Whether the first is better than the second, by axis. What noise blurs must be better by more than the noise, and
bytes by a tenth, for nobody chooses by less; of two accuracies on the same rows the higher one is better."""


def better_on(these: Figures, those: Figures) -> tuple[str, ...]:
    """The axes on which these are better than those."""
    return tuple(axis for axis, better in AXES.items() if better(these, those))


def seems_better(these: Figures, those: Figures) -> bool:
    """Whether some number of these is the smaller one, be it by noise: of all but accuracy less is better."""
    return any(
        mine < other
        for (name, mine), (_, other) in zip(these.numbers(), those.numbers(), strict=True)
        if name != "accuracy"
    )


def dropped(figures: Mapping[str, Figures], generated: Sequence[str]) -> dict[str, str]:
    """Each of the `generated` to drop, with the name of one that is kept and at least as good on every axis.

    `figures` has every variant; those that are not generated are always kept. Of equals the earlier is kept, for
    the later one is tried first.
    """
    kept = list(figures)
    for name in reversed(generated):
        if _winner(name, kept, figures):
            kept.remove(name)
    beaten = {}
    for name in [name for name in generated if name not in kept]:
        winner = _winner(name, kept, figures)
        if winner:
            beaten[name] = winner
        else:  # who beat it has fallen to another, which within the noise does not
            kept.append(name)
    return beaten


def _winner(name: str, kept: Sequence[str], figures: Mapping[str, Figures]) -> str | None:
    """One of the kept that is at least as good as a variant on every axis."""
    others = (other for other in kept if other != name)
    return next((other for other in others if not better_on(figures[name], figures[other])), None)
