"""What is asked of the scheduler; never how it is answered."""

from __future__ import annotations

from dataclasses import dataclass

from registry.model import Slo


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the scheduler sees it: no tensors, only what a decision needs."""

    task: str
    slo: Slo
    """Fully merged: the task's default with the caller's hints laid over it."""
    rows: int = 1
    elapsed_ms: float = 0.0
    """Time since arrival that the deadline has already lost."""
    uniform: float | None = None
    """Drawn for this request from [0, 1), to choose among placements that are as good as one another where many
    schedulers decide and none sees what the others do; None: the first by id."""
