"""What the scheduler wants done to the fleet, as frozen values with their reasons; they carry nothing out.

Each says how things should be, not what to change: carried out twice it does no more than once, and one that was lost
is decided again from what the fleet then is.
"""

from __future__ import annotations

from dataclasses import dataclass

from registry.model import Placement


@dataclass(frozen=True, slots=True)
class Warm:
    """Have a placement's variant resident in so many warm environments of its tier."""

    placement: Placement
    reason: str
    """One sentence with figures."""
    copies: int = 1
    for_s: float = 0.0
    """For how long (s) they are to stay so: an environment that would expire sooner is used once more."""


@dataclass(frozen=True, slots=True)
class Unload:
    """Have a placement's variant resident in no idle environment of its tier."""

    placement: Placement
    reason: str


@dataclass(frozen=True, slots=True)
class Shrink:
    """Keep at most so many idle environments of a tier; what runs is not touched."""

    tier: str
    copies: int
    reason: str


@dataclass(frozen=True, slots=True)
class Provision:
    """Have so many environments of a tier paid for whether used or not: provisioned concurrency, or container copies.

    A tier's count has one owner: who issues this for a tier issues all of them.
    """

    tier: str
    copies: int
    reason: str


Action = Warm | Unload | Shrink | Provision
