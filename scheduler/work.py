"""What a tier's cores are asked to run and by whom it can be done; values only, and no decisions."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

Measured = tuple[tuple[int, float, float], ...]
"""A profile of runs: rows, median (s) and 95th percentile (s), by ascending rows."""


@dataclass(slots=True, eq=False)
class Work:
    """A request that waits for a run; equal to itself alone."""

    task: str
    rows: int
    arrived: float
    """In seconds, as every time here, on the clock of whoever drives the station."""
    deadline: float = math.inf
    """When an answer stops being worth anything."""
    floor: float = 0.0
    """Least accuracy of the variant that answers."""
    variant: str | None = None
    """The only variant that may answer; None leaves the choice to the station."""
    priority: int = 0
    """What has a lower one runs first."""
    form: Hashable = None
    """Works of different forms (datatypes, extents beyond the rows) never share a run."""


@dataclass(frozen=True, slots=True)
class Rung:
    """A variant as a station can choose it."""

    variant: str
    accuracy: float = 0.0
    """Share of its answers that are right; 0 where it was not measured."""
    max_batch: int = 64
    """Most rows of a run that several works share; 1: works never share one."""
    service: Mapping[int, Measured] = field(default_factory=dict)
    """What was measured beforehand, by threads; what is missing is learnt from runs."""
    load_s: float = 0.0
    """How long loading takes."""

    @property
    def right(self) -> float:
        """What an answer is worth: its accuracy, and one right answer where that was not measured."""
        return self.accuracy or 1.0


def answers(rung: Rung, work: Work) -> bool:
    """Whether a variant may answer a work."""
    return rung.accuracy >= work.floor and work.variant in (None, rung.variant)


@dataclass(frozen=True, slots=True)
class Ladder:
    """The variants of one task, most accurate first."""

    task: str
    rungs: tuple[Rung, ...]
    weight: float = 1.0
    """The task's share of the cores, relative to the other tasks' that want them."""


@dataclass(frozen=True, slots=True)
class Run:
    """Run these works together, now."""

    number: int
    task: str
    variant: str
    threads: int
    works: tuple[Work, ...]
    rows: int
    expected_s: float


@dataclass(frozen=True, slots=True)
class Expire:
    """Tell the caller that the work cannot be done by its deadline, or not any more; it never runs."""

    work: Work


@dataclass(frozen=True, slots=True)
class Refuse:
    """Tell the caller that there is no capacity for the work by its deadline."""

    work: Work
    retry_after_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Load:
    """Load a variant for this number of threads: what it would have gained so far pays for it."""

    task: str
    variant: str
    threads: int
    reason: str


Action = Run | Expire | Refuse | Load
