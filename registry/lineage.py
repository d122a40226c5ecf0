"""Where a task's variants come from, and what was tried beside them, as frozen values; holds no model itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from registry.model import Recipe, check_name


@dataclass(frozen=True, slots=True)
class Sources:
    """What a task was registered from, each a blob, so that it can be measured again and its family can grow."""

    task: str
    evaluation: str
    """Digest of an .npz file: held-out inputs by name, and the right answers under the judged output's name."""
    calibration: str | None
    """Digest of an .npz file with inputs by name, rows on which nothing is ever judged; None when there are none."""
    models: tuple[tuple[str, str], ...]
    """Name of each variant that was registered rather than generated, and the digest of its ONNX bytes."""

    def model(self, name: str) -> str | None:
        """The digest of a registered variant's ONNX bytes; None for one that was generated."""
        return dict(self.models).get(name)


class Outcome(StrEnum):
    """Why a variant that was tried is not one of the task's."""

    DROPPED = "dropped"
    """Made and measured, and on no axis better than what exists."""
    FAILED = "failed"
    """Could not be made."""
    INAPPLICABLE = "inapplicable"
    """Its generator does not apply to the model, or to the task's tiers."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A variant that was tried and is not published, and the reason with its numbers."""

    task: str
    name: str
    recipe: Recipe
    outcome: Outcome
    reason: str
    numbers: tuple[tuple[str, float], ...] = ()
    """What was measured, by name with the unit at its end (`p50_ms`, `load_ms`, `accuracy`)."""

    def __post_init__(self) -> None:
        check_name(self.name, "tried.name")

    @property
    def id(self) -> str:
        """`task/name`, unique among a catalogue's tried variants."""
        return f"{self.task}/{self.name}"
