"""What is warm, busy and failing now, as an immutable value; it changes only by `apply`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler.events import Event

if TYPE_CHECKING:
    from registry.catalogue import Catalogue


@dataclass(frozen=True)
class Fleet:
    """A snapshot of what runs, for one catalogue snapshot."""

    catalogue: Catalogue

    @classmethod
    def empty(cls, catalogue: Catalogue) -> Fleet:
        """A fleet in which nothing runs."""
        return cls(catalogue)

    def apply(self, event: Event) -> Fleet:
        """The fleet after `event`; raises FleetError, and changes nothing, for one that cannot have happened."""
        return self

    def follow(self, catalogue: Catalogue) -> Fleet:
        """This fleet's state, carried over to another catalogue snapshot."""
        return Fleet(catalogue)
