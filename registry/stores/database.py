"""One SQLite file, open for all threads of a process; knows nothing of what is kept in it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from registry.errors import Unavailable

BUSY_TIMEOUT_S = 10.0
"""A writer holds the write lock for milliseconds; one that waits this long waits for a machine in trouble."""


class Database:
    """A file that is made if it is not there; one connection serves all threads of a process, one at a time.

    A process that forks opens it anew. Raises Unavailable when the file is no database, or the disk or the lock is not
    to be had.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
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

    def close(self) -> None:
        """Close the file; idempotent."""
        with self._lock:
            self._connection.close()

    def _prepare(self) -> None:
        """Make the tables, whoever else does so at the same time."""
        raise NotImplementedError

    def _write_ahead(self, schema: str) -> None:
        """Turn the file to write-ahead mode and make its tables, whoever else does so at the same time.

        SQLite answers "locked" at once, and not after the timeout, when two connections change the mode together.
        """
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.executescript(schema)
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._failures():
            yield self._connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that has the write lock from its start: what is read in it still holds when it writes."""
        with self._reading() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            finally:
                if database.in_transaction:
                    database.execute("ROLLBACK")

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(os.fspath(self._path), str(error)) from error
