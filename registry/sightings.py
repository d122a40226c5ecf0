"""What was last seen of an environment that nobody watches, as a frozen value: on Lambda only answers tell of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sighting:
    """An environment answered, and held this."""

    tier: str
    environment: str
    """Its name in the fleet."""
    resident: tuple[str, ...]
    """Variant ids."""
    at: float
    """Seconds since the epoch."""
