"""A store in one SQLite file, the embedded default; several processes and threads use it at once."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from registry.catalogue import Catalogue
from registry.errors import Conflict, NotFound
from registry.store import Release, roll_back, utc_now
from registry.stores.database import Database
from registry.stores.snapshots import pack, unpack

SCHEMA = """
CREATE TABLE IF NOT EXISTS release (
    version      INTEGER PRIMARY KEY,
    published_at TEXT NOT NULL,
    note         TEXT NOT NULL,
    snapshot     BLOB NOT NULL
) STRICT
"""

NEWEST = (1 << 63) - 1
"""The largest integer that SQLite holds (SQLite, "Datatypes", section 2)."""


class SqliteStore(Database):
    """Keeps each release as a row with its compressed snapshot, in write-ahead mode so that readers never wait.

    Opened, shared and failing as its Database.
    """

    def __init__(self, path: Path, *, now: Callable[[], str] = utc_now) -> None:
        self._now = now
        super().__init__(path)

    def head(self) -> int:
        """The newest version; 0 before the first release."""
        with self._reading() as database:
            return _head(database)

    def load(self, version: int | None = None) -> Catalogue:
        """The catalogue of a version, or the newest; raises NotFound."""
        if version is not None and version > NEWEST:
            raise NotFound("version", str(version))
        with self._reading() as database:
            if version is None:
                row = database.execute("SELECT snapshot FROM release ORDER BY version DESC LIMIT 1").fetchone()
            else:
                row = database.execute("SELECT snapshot FROM release WHERE version = ?", (version,)).fetchone()
        if row:
            return unpack(row[0])
        if version:
            raise NotFound("version", str(version))
        return Catalogue.empty()

    def publish(self, catalogue: Catalogue, *, note: str = "") -> Catalogue:
        """Release as the next version; raises Conflict, and writes nothing, unless based on the head."""
        released = catalogue.at(catalogue.version + 1)
        row = (released.version, self._now(), note, pack(released))
        with self._writing() as database:
            head = _head(database)
            if head != catalogue.version:
                raise Conflict(catalogue.version, head)
            database.execute("INSERT INTO release VALUES (?, ?, ?, ?)", row)
        return released

    def rollback(self, version: int) -> Catalogue:
        """Release an older version's facts again, as the next version; raises NotFound."""
        return roll_back(self, version)

    def history(self) -> tuple[Release, ...]:
        """Every release, oldest first."""
        with self._reading() as database:
            rows = database.execute("SELECT version, published_at, note FROM release ORDER BY version").fetchall()
        return tuple(Release(*row) for row in rows)

    def _prepare(self) -> None:
        self._write_ahead(SCHEMA)


def _head(database: sqlite3.Connection) -> int:
    return int(database.execute("SELECT coalesce(max(version), 0) FROM release").fetchone()[0])
