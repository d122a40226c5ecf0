"""Leases in memory, and in one SQLite file for the processes of one machine; neither knows what is leased."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from registry.leases import SKEW_S, Lease
from registry.stores.database import Database

FILE = "leases.db"
"""Its name in a home."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS lease (
    resource TEXT NOT NULL,
    holder   TEXT NOT NULL,
    until    REAL NOT NULL,
    PRIMARY KEY (resource, holder)
) STRICT, WITHOUT ROWID
"""


class MemoryLeases:
    """Keeps leases for as long as the process lives."""

    def __init__(self, *, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._lock = threading.Lock()
        self._until: dict[str, dict[str, float]] = {}
        """Resource to holder to the end of its lease."""

    def acquire(self, resource: str, holder: str, *, most: int, for_s: float) -> Lease | None:
        """See Leases."""
        with self._lock:
            now = self._wall()
            held = self._current(resource, now)
            if holder not in held and len(held) >= most:
                return None
            held[holder] = now + for_s
            return Lease(resource, 0, holder, now + for_s)

    def release(self, lease: Lease) -> None:
        """See Leases."""
        with self._lock:
            self._until.get(lease.resource, {}).pop(lease.holder, None)

    def held(self, resource: str) -> int:
        """See Leases."""
        with self._lock:
            return len(self._current(resource, self._wall()))

    def close(self) -> None:
        """See Leases."""

    def _current(self, resource: str, now: float) -> dict[str, float]:
        known = self._until.get(resource, {})
        self._until[resource] = current = {h: until for h, until in known.items() if until + SKEW_S > now}
        return current


class SqliteLeases(Database):
    """Keeps leases in a file in write-ahead mode, for the processes of one machine.

    Opened, shared and failing as its Database.
    """

    def __init__(self, path: Path, *, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        super().__init__(path)

    def acquire(self, resource: str, holder: str, *, most: int, for_s: float) -> Lease | None:
        """See Leases; one transaction."""
        with self._writing() as database:
            now = self._wall()
            database.execute("DELETE FROM lease WHERE until <= ?", (now - SKEW_S,))
            others = database.execute(
                "SELECT count(*) FROM lease WHERE resource = ? AND holder <> ?", (resource, holder)
            ).fetchone()[0]
            if others >= most:
                return None
            database.execute("INSERT OR REPLACE INTO lease VALUES (?, ?, ?)", (resource, holder, now + for_s))
            return Lease(resource, 0, holder, now + for_s)

    def release(self, lease: Lease) -> None:
        """See Leases."""
        with self._writing() as database:
            database.execute("DELETE FROM lease WHERE resource = ? AND holder = ?", (lease.resource, lease.holder))

    def held(self, resource: str) -> int:
        """See Leases."""
        with self._reading() as database:
            counted = database.execute(
                "SELECT count(*) FROM lease WHERE resource = ? AND until > ?", (resource, self._wall() - SKEW_S)
            ).fetchone()
        return int(counted[0])

    def _prepare(self) -> None:
        self._write_ahead(SCHEMA)
        # Whom a power failure ends has no call under way: a lease need not be on the disk before it is used.
        self._connection.execute("PRAGMA synchronous = NORMAL")
