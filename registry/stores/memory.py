"""A store in this process's memory, for tests and trials; nothing outlives it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from registry.catalogue import Catalogue
from registry.errors import Conflict, NotFound
from registry.store import Release, roll_back, utc_now


class MemoryStore:
    """Keeps the snapshots themselves, for they cannot change."""

    def __init__(self, *, now: Callable[[], str] = utc_now) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._log: list[tuple[Release, Catalogue]] = []

    def head(self) -> int:
        """The newest version; 0 before the first release."""
        return len(self._log)

    def load(self, version: int | None = None) -> Catalogue:
        """The catalogue of a version, or the newest; raises NotFound."""
        log = self._log
        number = len(log) if version is None else version
        if number == 0:
            return Catalogue.empty()
        if not 0 < number <= len(log):
            raise NotFound("version", str(number))
        return log[number - 1][1]

    def publish(self, catalogue: Catalogue, *, note: str = "") -> Catalogue:
        """Release as the next version; raises Conflict, and writes nothing, unless based on the head."""
        with self._lock:
            if catalogue.version != len(self._log):
                raise Conflict(catalogue.version, len(self._log))
            released = catalogue.at(catalogue.version + 1)
            self._log.append((Release(released.version, self._now(), note), released))
            return released

    def rollback(self, version: int) -> Catalogue:
        """Release an older version's facts again, as the next version; raises NotFound."""
        return roll_back(self, version)

    def history(self) -> tuple[Release, ...]:
        """Every release, oldest first."""
        return tuple(release for release, _ in self._log)

    def close(self) -> None:
        """Nothing to let go of."""
