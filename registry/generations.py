"""Work to make a variant that callers asked for, as frozen values; what may follow on what is a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

from registry.documents import to_document
from registry.errors import InvalidValue
from registry.model import Recipe, Slo


class GenerationState(StrEnum):
    """How far a generation is."""

    QUEUED = "queued"
    RUNNING = "running"
    PUBLISHED = "published"
    """The variant is in the catalogue."""
    DROPPED = "dropped"
    """Made and measured, and on no axis better than what exists."""
    FAILED = "failed"
    """Could not be made or measured."""


TRANSITIONS: Mapping[GenerationState, frozenset[GenerationState]] = MappingProxyType(
    {
        GenerationState.QUEUED: frozenset({GenerationState.RUNNING}),
        GenerationState.RUNNING: frozenset(
            {GenerationState.PUBLISHED, GenerationState.DROPPED, GenerationState.FAILED, GenerationState.QUEUED}
        ),
        GenerationState.PUBLISHED: frozenset(),
        GenerationState.DROPPED: frozenset(),
        GenerationState.FAILED: frozenset(),
    }
)
"""What each state may become; a running generation is queued again when it was interrupted."""

ACTIVE = frozenset(state for state, following in TRANSITIONS.items() if following)

RESTARTS = 1
"""How often a generation that was left running is tried again: it may itself be what ended its process."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What callers asked of a task."""

    task: str
    slo: Slo
    rows: int = 1
    before_ms: float = 0.0
    """Of the latency that is asked, what passes before a decision."""
    expected_ms: tuple[tuple[str, float], ...] = ()
    """Placement id to what decisions expect after that at the SLO's percentile, variant resident; what is not here is
    expected to take what its profile says."""

    @property
    def key(self) -> str:
        """Equal for equal questions, whatever is expected of what there is."""
        return json.dumps([self.task, self.rows, to_document(self.slo)], sort_keys=True)


@dataclass(frozen=True, slots=True)
class Generating:
    """What a caller is told of a generation that may help them."""

    generation: str
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class Generation:
    """One variant to make for a task that exists."""

    id: str
    task: str
    variant: str
    """The name that it will have."""
    recipe: Recipe
    """Generator, parent and parameters, as asked for: what is made records its defaults too."""
    suffix: str
    basis: str
    """Digest of the evaluation rows that the task was registered with: another registration is another matter."""
    state: GenerationState
    queued_at: str
    """ISO 8601, UTC, like the others."""
    started_at: str | None = None
    ended_at: str | None = None
    restarts: int = 0
    reason: str = ""
    """Why it ended as it did."""
    tier: str = ""
    """Where it is expected to do best; empty when nobody said."""
    rows: int = 1
    """The batch that it was first asked for with."""
    passing: bool = False
    """Whether it failed of something that passes, which says nothing of its recipe."""

    def check(self, following: GenerationState) -> None:
        """Raise InvalidValue unless that state may follow."""
        if following not in TRANSITIONS[self.state]:
            allowed = sorted(TRANSITIONS[self.state])
            fix = f"only {' or '.join(allowed)} may follow" if allowed else "nothing follows"
            raise InvalidValue(f"generation {self.id}", f"is {self.state} and cannot become {following}", fix)


class GenerationLog(Protocol):
    """Generations by id, and which of them are under way; safe for many at once. Raises Unavailable."""

    def queue(
        self, task: str, variant: str, suffix: str, recipe: Recipe, *, basis: str, tier: str = "", rows: int = 1
    ) -> Generation:
        """The generation of this variant: one queued or running for the same task and recipe, or a new one."""

    def generations(self) -> tuple[Generation, ...]:
        """Every generation that is kept, newest first."""

    def generation(self, id_: str) -> Generation:
        """The generation of this id; raises NotFound."""

    def move(self, id_: str, state: GenerationState, reason: str = "", *, passing: bool = False) -> Generation:
        """A generation has come to this; raises NotFound, and InvalidValue for a state that cannot follow."""

    def recover(self, started_before: str | None = None) -> None:
        """Queue again what was left running, or of it what was started before a time; nobody runs it any more.

        A generation that was left before, RESTARTS times, has failed.
        """

    def close(self) -> None:
        """Let go of files and connections; the log is of no use afterwards."""
