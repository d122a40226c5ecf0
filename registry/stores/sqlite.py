"""A store in one SQLite file, the embedded default; several processes and threads use it at once."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from registry.catalogue import Catalogue
from registry.errors import Conflict, NotFound, Unavailable
from registry.store import Release, roll_back, utc_now
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

BUSY_TIMEOUT_S = 10.0
"""A publisher holds the write lock for milliseconds; one that waits this long waits for a machine in trouble."""


class SqliteStore:
    """Keeps each release as a row with its compressed snapshot, in write-ahead mode so that readers never wait.

    One connection serves all threads of a process, one at a time; a process that forks opens the store anew.
    Raises Unavailable when the file is no database, or the disk or the lock is not to be had.
    """

    def __init__(self, path: Path, *, now: Callable[[], str] = utc_now) -> None:
        self._path = path.absolute()
        self._now = now
        self._lock = threading.RLock()
        with self._failures():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
        try:
            with self._failures():
                self._prepare()
        except Unavailable:
            self._connection.close()
            raise

    def head(self) -> int:
        """The newest version; 0 before the first release."""
        with self._database() as database:
            return _head(database)

    def load(self, version: int | None = None) -> Catalogue:
        """The catalogue of a version, or the newest; raises NotFound."""
        if version is not None and version > NEWEST:
            raise NotFound("version", str(version))
        with self._database() as database:
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
        with self._database() as database:
            # IMMEDIATE takes the write lock before the head is read, so no other publisher can slip in between.
            database.execute("BEGIN IMMEDIATE")
            try:
                head = _head(database)
                if head != catalogue.version:
                    raise Conflict(catalogue.version, head)
                database.execute("INSERT INTO release VALUES (?, ?, ?, ?)", row)
                database.execute("COMMIT")
            finally:
                if database.in_transaction:
                    database.execute("ROLLBACK")
        return released

    def rollback(self, version: int) -> Catalogue:
        """Release an older version's facts again, as the next version; raises NotFound."""
        return roll_back(self, version)

    def history(self) -> tuple[Release, ...]:
        """Every release, oldest first."""
        with self._database() as database:
            rows = database.execute("SELECT version, published_at, note FROM release ORDER BY version").fetchall()
        return tuple(Release(*row) for row in rows)

    def close(self) -> None:
        """Close the file; idempotent."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._failures():
            yield self._connection

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(os.fspath(self._path), str(error)) from error

    def _prepare(self) -> None:
        """Turn the file to write-ahead mode and make its table, whoever else does so at the same time.

        SQLite answers "locked" at once, and not after the timeout, when two connections change the mode together.
        """
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute(SCHEMA)
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)


def _head(database: sqlite3.Connection) -> int:
    return int(database.execute("SELECT coalesce(max(version), 0) FROM release").fetchone()[0])
