"""Which tasks were asked for in which minute, as frozen values and the log that keeps them; it forecasts nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from registry.model import Slo

KEPT_MINUTES = 2 * 24 * 60
"""Two days: a daily rhythm shows in two of its periods, and what is older says little of now."""


@dataclass(frozen=True, slots=True)
class Usage:
    """How one task was asked for within a minute."""

    task: str
    requests: int
    rows: int
    """In all of them."""
    slo: Slo
    """Of one of them, the last where that is known."""

    def plus(self, later: Usage) -> Usage:
        """Both together."""
        return replace(later, requests=self.requests + later.requests, rows=self.rows + later.rows)


@dataclass(frozen=True, slots=True)
class Minute:
    """A minute in which something was asked for, and what."""

    minute: int
    """Minutes since the epoch."""
    usages: tuple[Usage, ...]
    """One for each task, by name."""


class ActivityLog(Protocol):
    """Keeps the last KEPT_MINUTES of everybody's activity; safe for many threads and processes at once.

    Each method raises Unavailable when the log cannot be reached.
    """

    def add(self, minute: int, usages: Iterable[Usage]) -> None:
        """Add to what the minute has: requests and rows are summed, and the last SLO stands."""

    def between(self, first: int, end: int) -> tuple[Minute, ...]:
        """The minutes from `first` on and before `end` that have something, in their order."""

    def claim(self, name: str, minute: int) -> bool:
        """Whether `minute` is later than any that was claimed by this name before, which it then is no more.

        So of several that would do the same work for a minute one does it.
        """

    def close(self) -> None:
        """Let go of files and connections; the log is of no use afterwards."""
