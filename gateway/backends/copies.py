"""What an inference component says of its copies, and what that means to who would use them; asks nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Standing(StrEnum):
    """Whether a tier that lives by copies can be used."""

    HERE = "here"
    COMING = "coming"
    """None answers yet, and some are asked for."""
    NONE = "none"
    """None is asked for; what may still be there is on its way out."""
    BROKEN = "broken"
    """It failed, or is being deleted."""


@dataclass(frozen=True, slots=True)
class Copies:
    """A component's own account."""

    current: int
    desired: int
    status: str = "InService"
    reason: str = ""
    """Of what failed."""

    @classmethod
    def read(cls, description: Mapping[str, Any]) -> Copies:
        """What DescribeInferenceComponent answered."""
        counts = description.get("RuntimeConfig", {})
        current, desired = (int(counts.get(f"{name}CopyCount", 0)) for name in ("Current", "Desired"))
        return cls(current, desired, description["InferenceComponentStatus"], description.get("FailureReason", ""))

    @property
    def settled(self) -> bool:
        """Whether the number may be set: it is refused while another change is under way."""
        return self.status == "InService"

    @property
    def standing(self) -> Standing:
        """What it means to who would use them."""
        if self.status in ("Failed", "Deleting"):
            return Standing.BROKEN
        if not self.desired:
            return Standing.NONE
        return Standing.HERE if self.current else Standing.COMING

    def __str__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        return f"{self.current} of {self.desired} copies are there, and it is {self.status}{why}"
