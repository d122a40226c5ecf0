"""What happened to the fleet, as frozen values; the only way a Fleet changes.

Times are seconds on the caller's clock (`now`); durations are milliseconds. A tier without environments of its own
(inline) reports runs under one environment for the tier's lifetime.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Queued:
    """A request was accepted for a placement and waits or starts; `expected_ms` is its predicted service time."""

    placement: str
    request: str
    expected_ms: float
    now: float


@dataclass(frozen=True, slots=True)
class EnvironmentStarting:
    """An environment of a tier began to start."""

    tier: str
    environment: str
    now: float


@dataclass(frozen=True, slots=True)
class EnvironmentReady:
    """An environment is idle and holds these variants (ids) resident."""

    tier: str
    environment: str
    resident: tuple[str, ...]
    now: float


@dataclass(frozen=True, slots=True)
class EnvironmentBusy:
    """An environment began to run a request."""

    tier: str
    environment: str
    now: float


@dataclass(frozen=True, slots=True)
class EnvironmentGone:
    """An environment expired, crashed or was released."""

    tier: str
    environment: str
    reason: str
    now: float


@dataclass(frozen=True, slots=True)
class SnapshotTaken:
    """New environments of a tier start from a snapshot that holds these variants (ids) resident."""

    tier: str
    resident: tuple[str, ...]
    now: float


@dataclass(frozen=True, slots=True)
class Finished:
    """A queued request left its placement, answered or not."""

    placement: str
    request: str
    latency_ms: float
    ok: bool
    now: float


@dataclass(frozen=True, slots=True)
class Measured:
    """A placement answered `rows` rows, or was given up on: how long that took, against what was predicted of it."""

    placement: str
    rows: int
    latency_ms: float
    """From the decision to the answer."""
    predicted_ms: tuple[float, ...]
    """What the decision expected that to be, at each of LEVELS."""
    service_ms: float | None
    """The run without its wait for a slot; None where a start or a load was part of it."""
    now: float
    answered: bool = True
    """False: time ran out first, and both times are what it took at least."""


@dataclass(frozen=True, slots=True)
class TierUnavailable:
    """A tier refuses work until `until`: throttled, not ready (a GPU at zero copies), or out of reach."""

    tier: str
    reason: str
    until: float
    now: float


@dataclass(frozen=True, slots=True)
class PlacementFailed:
    """A placement failed in a way that another try will not mend soon; it is avoided until `until`."""

    placement: str
    reason: str
    until: float
    now: float


@dataclass(frozen=True, slots=True)
class VariantQuarantined:
    """A variant's bytes do not match their digest; it is not chosen again in this fleet until it is cleared."""

    variant: str
    reason: str
    now: float


@dataclass(frozen=True, slots=True)
class VariantCleared:
    """A quarantined variant was repaired."""

    variant: str
    now: float


@dataclass(frozen=True, slots=True)
class AccuracyJudged:
    """Judgements of a variant's answers put its accuracy at `accuracy` (a share from 0 to 1)."""

    variant: str
    accuracy: float
    now: float


Event = (
    Queued
    | EnvironmentStarting
    | EnvironmentReady
    | EnvironmentBusy
    | EnvironmentGone
    | SnapshotTaken
    | Finished
    | Measured
    | TierUnavailable
    | PlacementFailed
    | VariantQuarantined
    | VariantCleared
    | AccuracyJudged
)
