"""Who may use something scarce, of which several processes share a few, as a frozen value and where that is kept.

A lease ends by itself: whoever crashes gives back what it had when its time is over, and nobody has to sweep. It is for
what a request would otherwise queue for behind strangers, as on the few copies of a GPU's container; where a service
refuses by itself, as Lambda does, it would only cost two writes a request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

SKEW_S = 1.0
"""How far clocks that share leases may be apart: hosts that AWS keeps in time are within milliseconds. A lease is taken
from its holder so much after its end, and its holder does not count on it to the end."""


@dataclass(frozen=True, slots=True)
class Lease:
    """One of the few, for some time."""

    resource: str
    slot: int
    """Which of them, where that is told apart; 0 where they are only counted."""
    holder: str
    until: float
    """Seconds since the epoch, by its holder's clock."""


class Leases(Protocol):
    """Keeps leases; safe for many threads and processes at once.

    Each method raises Unavailable when it cannot be told who has what.
    """

    def acquire(self, resource: str, holder: str, *, most: int, for_s: float) -> Lease | None:
        """One of `most` for `for_s` seconds, or None where all are taken.

        Never are more than `most` given at a time. A holder is named once for what it does, so that to ask again, as
        when an answer was lost, gives the same one, for as long again.
        """

    def release(self, lease: Lease) -> None:
        """Give it back; nothing where it has ended, or was given back before."""

    def held(self, resource: str) -> int:
        """How many are held now."""

    def close(self) -> None:
        """Let go of files and connections."""
