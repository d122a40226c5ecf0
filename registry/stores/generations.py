"""The queue of generations in one SQLite file beside the catalogue; several processes use it at once."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from registry.documents import from_document, to_document
from registry.errors import NotFound
from registry.generations import ACTIVE, RESTARTS, Asked, Generation, GenerationState
from registry.model import Recipe
from registry.store import utc_now
from registry.stores.database import Database

FILE = "jobs.db"
"""Its name in a home. File and tables keep the name that generations had at first: homes hold them."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS job (
    number INTEGER PRIMARY KEY,
    id     TEXT NOT NULL UNIQUE,
    task   TEXT NOT NULL,
    recipe TEXT NOT NULL,
    state  TEXT NOT NULL,
    job    TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS active ON job (task, recipe) WHERE state IN ('queued', 'running');
CREATE TABLE IF NOT EXISTS asked (
    key     TEXT PRIMARY KEY,
    asked   TEXT NOT NULL,
    pending INTEGER NOT NULL,
    job     TEXT
) STRICT
"""

KEPT = 1000
"""Questions and generations that are kept; the oldest that are over are forgotten."""


class SqliteGenerations(Database):
    """Generations by id, in the order in which they were queued, and what callers asked that led to them.

    Opened, shared and failing as its Database.
    """

    def __init__(self, path: Path, *, now: Callable[[], str] = utc_now) -> None:
        self._now = now
        super().__init__(path)

    # Questions

    def ask(self, *asked: Asked) -> None:
        """Note that these SLOs found nothing that holds them; each waits to be looked at, once."""
        with self._writing() as database:
            for each in asked:
                database.execute(
                    "INSERT INTO asked VALUES (?, ?, 1, NULL) ON CONFLICT (key) DO UPDATE"
                    " SET pending = 1, asked = excluded.asked",
                    (each.key, json.dumps(to_document(each))),
                )
            database.execute("DELETE FROM asked WHERE rowid <= (SELECT max(rowid) FROM asked) - ?", (KEPT,))

    def pending(self) -> tuple[Asked, ...]:
        """Questions that wait, oldest first."""
        with self._reading() as database:
            rows = database.execute("SELECT asked FROM asked WHERE pending ORDER BY rowid").fetchall()
        return tuple(from_document(Asked, json.loads(row[0])) for row in rows)

    def answer(self, asked: Asked, generation: Generation | None) -> None:
        """A question was looked at; None: nothing that could be made is expected to help."""
        with self._writing() as database:
            database.execute(
                "UPDATE asked SET pending = 0, job = ? WHERE key = ?",
                (None if generation is None else generation.id, asked.key),
            )

    def under_way(self) -> dict[str, Generation]:
        """Generations that are queued or running, by the key of each question that they answer."""
        with self._reading() as database:
            rows = database.execute(
                "SELECT asked.key, job.job FROM asked JOIN job ON job.id = asked.job"
                " WHERE job.state IN ('queued', 'running')"
            ).fetchall()
        return {key: _generation(document) for key, document in rows}

    # Generations

    def queue(
        self, task: str, variant: str, suffix: str, recipe: Recipe, *, basis: str, tier: str = "", rows: int = 1
    ) -> Generation:
        """See GenerationLog."""
        with self._writing() as database:
            row = database.execute(
                "SELECT job FROM job WHERE task = ? AND recipe = ? AND state IN ('queued', 'running')",
                (task, _text(recipe)),
            ).fetchone()
            if row:
                return _generation(row[0])
            id_, state = secrets.token_hex(6), GenerationState.QUEUED
            new = Generation(id_, task, variant, recipe, suffix, basis, state, self._now(), tier=tier, rows=rows)
            database.execute(
                "INSERT INTO job (id, task, recipe, state, job) VALUES (?, ?, ?, ?, ?)",
                (new.id, task, _text(recipe), new.state, _text(new)),
            )
            database.execute(
                "DELETE FROM job WHERE number <= (SELECT max(number) FROM job) - ?"
                " AND state NOT IN ('queued', 'running')",
                (KEPT,),
            )
        return new

    def generations(self) -> tuple[Generation, ...]:
        """See GenerationLog."""
        with self._reading() as database:
            rows = database.execute("SELECT job FROM job ORDER BY number DESC").fetchall()
        return tuple(_generation(row[0]) for row in rows)

    def generation(self, id_: str) -> Generation:
        """See GenerationLog."""
        with self._reading() as database:
            return _found(database, id_)

    def start_next(self) -> Generation | None:
        """The generation that has been queued the longest, now running; None when none is queued."""
        with self._writing() as database:
            row = database.execute("SELECT job FROM job WHERE state = 'queued' ORDER BY number LIMIT 1").fetchone()
            return self._moved(database, _generation(row[0]), GenerationState.RUNNING) if row else None

    def move(self, id_: str, state: GenerationState, reason: str = "", *, passing: bool = False) -> Generation:
        """See GenerationLog."""
        with self._writing() as database:
            return self._moved(database, _found(database, id_), state, reason=reason, passing=passing)

    def recover(self, started_before: str | None = None) -> None:
        """See GenerationLog."""
        with self._writing() as database:
            for (document,) in database.execute("SELECT job FROM job WHERE state = 'running'").fetchall():
                generation = _generation(document)
                if started_before is not None and (generation.started_at or "") >= started_before:
                    continue
                if generation.restarts < RESTARTS:
                    self._moved(database, generation, GenerationState.QUEUED, restarts=generation.restarts + 1)
                else:
                    self._moved(
                        database,
                        generation,
                        GenerationState.FAILED,
                        reason="its process ended twice before it was done",
                    )

    def _moved(
        self, database: sqlite3.Connection, generation: Generation, state: GenerationState, **changes: Any
    ) -> Generation:
        generation.check(state)
        at = {"started_at": self._now()} if state is GenerationState.RUNNING else {}
        at |= {"ended_at": self._now()} if state not in ACTIVE else {}
        moved = from_document(Generation, to_document(generation) | {"state": state.value} | at | changes)
        database.execute("UPDATE job SET state = ?, job = ? WHERE id = ?", (state, _text(moved), generation.id))
        return moved

    def _prepare(self) -> None:
        # In rollback mode, not write-ahead: that mode's switch is what several processes cannot do at once.
        self._connection.executescript(SCHEMA)


def _found(database: sqlite3.Connection, id_: str) -> Generation:
    row = database.execute("SELECT job FROM job WHERE id = ?", (id_,)).fetchone()
    if row is None:
        raise NotFound("generation", id_)
    return _generation(row[0])


def _text(value: Generation | Recipe) -> str:
    return json.dumps(to_document(value), sort_keys=True)


def _generation(document: str) -> Generation:
    return from_document(Generation, json.loads(document))
