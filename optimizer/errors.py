"""What can go wrong while making and measuring variants: one root, classes by whose fault it is.

OptimizerError
├── GenerationFailed     the model's: a generator cannot make a variant of it
├── InvalidEvaluation    the caller's: the held-out rows do not fit the task or its metric
├── MeasurementFailed    the backend's: a placement cannot be measured
└── NothingRegistered    the caller's: no variant of a manifest could be made
"""

from __future__ import annotations

from collections.abc import Sequence


class OptimizerError(Exception):
    """Root of every error that the optimizer raises."""


class GenerationFailed(OptimizerError):
    """A generator cannot make a variant of this model; carries the generator and its reason."""

    def __init__(self, generator: str, reason: str) -> None:
        super().__init__(f"{generator}: {reason}")
        self.generator = generator
        self.reason = reason


class InvalidEvaluation(OptimizerError, ValueError):
    """The held-out rows do not fit; carries the field, the problem and the fix."""

    def __init__(self, field: str, problem: str, fix: str) -> None:
        super().__init__(f"{field}: {problem}; {fix}")
        self.field = field
        self.problem = problem
        self.fix = fix


class MeasurementFailed(OptimizerError):
    """A placement cannot be measured; the message names it and why."""


class NothingRegistered(OptimizerError):
    """No variant could be made; `reasons` says why, one line per variant."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons) or "the manifest names no variant")
        self.reasons = tuple(reasons)
