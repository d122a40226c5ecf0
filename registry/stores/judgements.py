"""The log of judgements in memory, and in one SQLite file beside the catalogue; neither weighs any."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence

from registry.judgements import Case, Mark, Observation, case_of, case_text, within
from registry.stores.database import Database

FILE = "judgements.db"
"""Its name in a home."""

KEPT = 4096
"""Observations of one variant's artifact: several times the rows that count, so that what is judged late finds its
place, and a file of some hundred kilobytes."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS observation (
    variant  TEXT NOT NULL,
    artifact TEXT NOT NULL,
    key      TEXT NOT NULL,
    decision TEXT NOT NULL,
    at_ms    INTEGER NOT NULL,
    rows     INTEGER NOT NULL,
    evidence BLOB NOT NULL,
    PRIMARY KEY (variant, artifact, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kept (variant TEXT PRIMARY KEY, content TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS mark (variant TEXT PRIMARY KEY, token TEXT NOT NULL) STRICT
"""


class MemoryJudgements:
    """Keeps the log for as long as the process lives."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._observations: dict[tuple[str, str], dict[str, Observation]] = {}
        self._cases: dict[str, Case] = {}
        self._marks: dict[str, str] = {}

    def add(self, observations: Sequence[Observation]) -> tuple[bool, ...]:
        """See JudgementLog."""
        with self._lock:
            return tuple([self._add(observation) for observation in observations])

    def _add(self, observation: Observation) -> bool:
        kept = self._observations.setdefault((observation.variant, observation.artifact), {})
        new = observation.key not in kept
        kept.setdefault(observation.key, observation)
        for key in sorted(kept)[:-KEPT]:
            del kept[key]
        self._marks[observation.variant] = secrets.token_hex(8)
        return new

    def last(self, variant: str, artifact: str, rows: int, *, after: str = "") -> tuple[Observation, ...]:
        """See JudgementLog."""
        with self._lock:
            kept = dict(self._observations.get((variant, artifact), {}))
        return within([kept[key] for key in sorted(kept, reverse=True) if key > after], rows)

    def case(self, variant: str) -> Case | None:
        """See JudgementLog."""
        return self._cases.get(variant)

    def keep(self, variant: str, case: Case) -> None:
        """See JudgementLog."""
        self._cases[variant] = case

    def marks(self) -> tuple[Mark, ...]:
        """See JudgementLog."""
        with self._lock:
            return tuple(Mark(*each) for each in sorted(self._marks.items()))

    def settle(self, mark: Mark) -> None:
        """See JudgementLog."""
        with self._lock:
            if self._marks.get(mark.variant) == mark.token:
                del self._marks[mark.variant]

    def close(self) -> None:
        """See JudgementLog."""


class SqliteJudgements(Database):
    """Keeps the log in a file, so that what was judged is known to a platform that starts again.

    An observation that `add` has returned is on the disk. Opened, shared and failing as its Database.
    """

    def add(self, observations: Sequence[Observation]) -> tuple[bool, ...]:
        """See JudgementLog; all of them or, when it raises, none."""
        new = []
        with self._writing() as database:
            for each in observations:
                inserted = database.execute(
                    "INSERT INTO observation VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    (each.variant, each.artifact, each.key, each.decision_id, each.at_ms, each.rows, each.evidence),
                )
                new.append(inserted.rowcount > 0)
            for variant, artifact in {(each.variant, each.artifact) for each in observations}:
                database.execute(
                    "DELETE FROM observation WHERE variant = :variant AND artifact = :artifact AND key <= (SELECT key"
                    " FROM observation WHERE variant = :variant AND artifact = :artifact"
                    " ORDER BY key DESC LIMIT 1 OFFSET :kept)",
                    {"variant": variant, "artifact": artifact, "kept": KEPT},
                )
                database.execute("INSERT OR REPLACE INTO mark VALUES (?, ?)", (variant, secrets.token_hex(8)))
        return tuple(new)

    def last(self, variant: str, artifact: str, rows: int, *, after: str = "") -> tuple[Observation, ...]:
        """See JudgementLog."""
        with self._reading() as database:
            found = database.execute(
                "SELECT decision, at_ms, rows, evidence FROM observation WHERE variant = ? AND artifact = ? AND key > ?"
                " ORDER BY key DESC LIMIT ?",
                (variant, artifact, after, rows),
            ).fetchall()
        return within([Observation(decision, variant, artifact, *rest) for decision, *rest in found], rows)

    def case(self, variant: str) -> Case | None:
        """See JudgementLog."""
        with self._reading() as database:
            row = database.execute("SELECT content FROM kept WHERE variant = ?", (variant,)).fetchone()
        return case_of(row[0]) if row else None

    def keep(self, variant: str, case: Case) -> None:
        """See JudgementLog."""
        with self._writing() as database:
            database.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (variant, case_text(case)))

    def marks(self) -> tuple[Mark, ...]:
        """See JudgementLog."""
        with self._reading() as database:
            return tuple(Mark(*row) for row in database.execute("SELECT variant, token FROM mark ORDER BY variant"))

    def settle(self, mark: Mark) -> None:
        """See JudgementLog."""
        with self._writing() as database:
            database.execute("DELETE FROM mark WHERE variant = ? AND token = ?", (mark.variant, mark.token))

    def _prepare(self) -> None:
        self._connection.executescript(SCHEMA)
