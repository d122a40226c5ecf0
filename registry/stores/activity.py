"""The log of activity in memory, and in one SQLite file beside the catalogue; neither counts anything itself."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from functools import lru_cache

from registry.activity import KEPT_MINUTES, Minute, Usage
from registry.documents import from_document, to_document
from registry.model import Slo
from registry.stores.database import Database

FILE = "activity.db"
"""Its name in a home."""

SLOS_KEPT = 4096
"""Texts whose SLO is known without reading them: most of a log's are the same few."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS usage (
    minute   INTEGER NOT NULL,
    task     TEXT NOT NULL,
    requests INTEGER NOT NULL,
    rows     INTEGER NOT NULL,
    slo      TEXT NOT NULL,
    PRIMARY KEY (minute, task)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claim (name TEXT PRIMARY KEY, minute INTEGER NOT NULL) STRICT
"""


@lru_cache(SLOS_KEPT)
def slo_of(text: str) -> Slo:
    """The SLO that a log holds as JSON; one without bounds where it is none that this release knows."""
    try:
        return from_document(Slo, json.loads(text))
    except ValueError:  # an InvalidValue is one too
        return Slo()


class MemoryActivity:
    """Keeps the log for as long as the process lives."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minutes: dict[int, dict[str, Usage]] = {}
        self._claims: dict[str, int] = {}

    def add(self, minute: int, usages: Iterable[Usage]) -> None:
        """See ActivityLog."""
        with self._lock:
            for usage in usages:
                kept = self._minutes.setdefault(minute, {})
                kept[usage.task] = kept[usage.task].plus(usage) if usage.task in kept else usage
            for old in [m for m in self._minutes if m <= minute - KEPT_MINUTES]:
                del self._minutes[old]

    def between(self, first: int, end: int) -> tuple[Minute, ...]:
        """See ActivityLog."""
        with self._lock:
            found = {m: dict(kept) for m, kept in self._minutes.items() if first <= m < end}
        return tuple(Minute(m, tuple(kept[task] for task in sorted(kept))) for m, kept in sorted(found.items()))

    def claim(self, name: str, minute: int) -> bool:
        """See ActivityLog."""
        with self._lock:
            if self._claims.get(name, minute - 1) >= minute:
                return False
            self._claims[name] = minute
            return True

    def close(self) -> None:
        """See ActivityLog."""


class SqliteActivity(Database):
    """Keeps the log in a file, so that a platform that starts again knows what was asked of it.

    Opened, shared and failing as its Database.
    """

    def add(self, minute: int, usages: Iterable[Usage]) -> None:
        """See ActivityLog."""
        rows = [(minute, u.task, u.requests, u.rows, json.dumps(to_document(u.slo))) for u in usages]
        with self._writing() as database:
            database.executemany(
                "INSERT INTO usage VALUES (?, ?, ?, ?, ?) ON CONFLICT (minute, task) DO UPDATE SET"
                " requests = requests + excluded.requests, rows = rows + excluded.rows, slo = excluded.slo",
                rows,
            )
            database.execute("DELETE FROM usage WHERE minute <= ?", (minute - KEPT_MINUTES,))

    def between(self, first: int, end: int) -> tuple[Minute, ...]:
        """See ActivityLog."""
        with self._reading() as database:
            rows = database.execute(
                "SELECT minute, task, requests, rows, slo FROM usage WHERE minute >= ? AND minute < ?"
                " ORDER BY minute, task",
                (first, end),
            ).fetchall()
        found: dict[int, list[Usage]] = {}
        for minute, task, requests, count, slo in rows:
            found.setdefault(minute, []).append(Usage(task, requests, count, slo_of(slo)))
        return tuple(Minute(minute, tuple(usages)) for minute, usages in found.items())

    def claim(self, name: str, minute: int) -> bool:
        """See ActivityLog."""
        with self._writing() as database:
            claimed = database.execute(
                "INSERT INTO claim VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET minute = excluded.minute"
                " WHERE excluded.minute > claim.minute",
                (name, minute),
            )
            return claimed.rowcount > 0

    def _prepare(self) -> None:
        self._connection.executescript(SCHEMA)
