"""Where catalogues are kept: a log of released snapshots that only grows, one writer at a time by compare-and-set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from registry.catalogue import Catalogue
from registry.errors import Conflict

ATTEMPTS = 100
"""Each lost race means that another publisher has won one, so this many in a row is a fault and not bad luck."""


@dataclass(frozen=True, slots=True)
class Release:
    """One entry of the log."""

    version: int
    published_at: str
    """ISO 8601, UTC."""
    note: str


class Store(Protocol):
    """Keeps every released catalogue; safe for many threads and processes at once."""

    def head(self) -> int:
        """The newest version; 0 before the first release."""

    def load(self, version: int | None = None) -> Catalogue:
        """The catalogue of a version, or the newest; raises NotFound."""

    def publish(self, catalogue: Catalogue, *, note: str = "") -> Catalogue:
        """Release these facts as the next version and return them under it.

        Raises Conflict, and writes nothing, unless `catalogue.version` is still the head.
        """

    def rollback(self, version: int) -> Catalogue:
        """Release an older version's facts again, as the next version; raises NotFound."""

    def history(self) -> tuple[Release, ...]:
        """Every release, oldest first."""

    def close(self) -> None:
        """Let go of files and connections; the store is of no use afterwards."""


def update(store: Store, edit: Callable[[Catalogue], Catalogue], note: str = "") -> Catalogue:
    """Publish `edit` of the newest catalogue, again on the newer one whenever another publisher was first.

    `edit` is pure, and may run several times; what it raises is raised, with nothing written. Raises Conflict
    after ATTEMPTS lost races.
    """

    def attempt() -> Catalogue:
        base = store.load()
        return store.publish(edit(base).at(base.version), note=note)

    return _until_first(attempt)


def roll_back(store: Store, version: int) -> Catalogue:
    """What every store's `rollback` does: the facts of `version`, released over whatever is the head.

    The head itself is not read, so this mends a catalogue whose newest snapshot is damaged.
    """
    old = store.load(version)
    return _until_first(lambda: store.publish(old.at(store.head()), note=f"rollback to {version}"))


def _until_first(attempt: Callable[[], Catalogue]) -> Catalogue:
    for _ in range(ATTEMPTS - 1):
        try:
            return attempt()
        except Conflict:
            continue
    return attempt()


def utc_now() -> str:
    """Now, in ISO 8601 and UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
