"""Jobs in memory, and in one SQLite file beside the catalogue; both know who is next, and neither runs anything."""

from __future__ import annotations

import json
import math
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from registry.documents import from_document, to_document
from registry.errors import KeyReused, NotFound, TooManyJobs
from registry.jobs import AHEAD_S, KEPT_S, MOST_OPEN, Job, JobState, Step, claim
from registry.stores.database import Database
from registry.stores.job_parts import BODY, JobParts, result_part

FILE = "jobs/jobs.db"
"""Its place in a home; parts lie beside it."""

INLINE_BYTES = 256 * 1024
"""A larger body or result is a file of its own: rows that are rewritten stay small."""

FORGOTTEN_AT_ONCE = 1000
"""Some milliseconds of whoever comes first after a long rest."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS job (
    id      TEXT PRIMARY KEY,
    tenant  TEXT NOT NULL,
    state   TEXT NOT NULL,
    lease   REAL NOT NULL,
    started REAL,
    expires REAL NOT NULL,
    key     TEXT,
    keyed   REAL NOT NULL,
    job     TEXT NOT NULL,
    body    BLOB,
    result  BLOB
) STRICT;
CREATE INDEX IF NOT EXISTS job_waiting ON job (tenant, id, lease, expires, state) WHERE state IN ('queued', 'running');
CREATE INDEX IF NOT EXISTS job_newest ON job (tenant, id);
CREATE INDEX IF NOT EXISTS job_started ON job (tenant, started);
CREATE INDEX IF NOT EXISTS job_key ON job (tenant, key) WHERE key IS NOT NULL;
CREATE INDEX IF NOT EXISTS job_expires ON job (expires)
"""

NEWEST = "SELECT job FROM job WHERE tenant = ? AND expires > ? ORDER BY id DESC LIMIT ?"

NEXT = """
WITH RECURSIVE asking (tenant) AS (
    SELECT min(tenant) FROM job WHERE state IN ('queued', 'running')
    UNION ALL
    SELECT (SELECT min(tenant) FROM job WHERE state IN ('queued', 'running') AND tenant > asking.tenant)
    FROM asking WHERE tenant IS NOT NULL
),
oldest (tenant, id) AS (
    SELECT tenant, (
        SELECT id FROM job
        WHERE tenant = asking.tenant AND state IN ('queued', 'running') AND expires > :now
            AND (lease <= :now OR lease > iif(state = 'running', :held, :paused))
        ORDER BY id LIMIT 1
    ) FROM asking
)
SELECT tenant, id FROM oldest WHERE id IS NOT NULL
ORDER BY (SELECT max(started) FROM job WHERE job.tenant = oldest.tenant AND started <= :now), id LIMIT 1
"""
"""A look for each tenant that has jobs, however many those are. NULL, of one that was never served, comes first
(SQLite, "Datatypes", section 4.1). Whoever was served by a clock that has been set back since counts as never served;
`:held` and `:paused` are the latest ends of waits (`registry.jobs.AHEAD_S`)."""


@dataclass(slots=True)
class _Kept:
    job: Job
    body: bytes
    key: str | None
    result: bytes | None = None


class MemoryJobs:
    """Keeps jobs for as long as the process lives."""

    def __init__(self, *, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], _Kept] = {}

    def submit(self, job: Job, body: bytes, *, key: str | None = None, most: int = MOST_OPEN) -> Job:
        """See JobStore."""
        with self._lock:
            now = self._wall()
            self._kept = {name: kept for name, kept in self._kept.items() if not kept.job.expired(now)}
            theirs = [kept for kept in self._kept.values() if kept.job.tenant == job.tenant]
            for kept in theirs:
                if key is not None and kept.key == key and now < kept.job.submitted_at + KEPT_S:
                    return same(kept.job, job)
            if sum(kept.job.open for kept in theirs) >= most:
                raise TooManyJobs(most)
            self._kept[job.tenant, job.id] = _Kept(job, body, key)
            return job

    def job(self, tenant: str, id_: str) -> Job:
        """See JobStore."""
        return self._find(tenant, id_).job

    def jobs(self, tenant: str, limit: int) -> tuple[Job, ...]:
        """See JobStore."""
        with self._lock:
            now = self._wall()
            found = [k.job for k in self._kept.values() if k.job.tenant == tenant and not k.job.expired(now)]
        return tuple(sorted(found, key=lambda job: job.id, reverse=True)[:limit])

    def body(self, job: Job) -> bytes:
        """See JobStore."""
        kept = self._find(job.tenant, job.id)
        if not kept.job.open:
            raise NotFound("body of job", job.id)
        return kept.body

    def result(self, job: Job) -> bytes:
        """See JobStore."""
        result = self._find(job.tenant, job.id).result
        if result is None:
            raise NotFound("result of job", job.id)
        return result

    def move(self, tenant: str, id_: str, step: Step, *, result: bytes | None = None) -> Job:
        """See JobStore."""
        with self._lock:
            kept = self._find(tenant, id_)
            kept.job = step(kept.job, self._wall())
            if kept.job.state is JobState.SUCCEEDED and result is not None:
                kept.result = result
            return kept.job

    def claim_next(self, holder: str, lease_s: float) -> Job | None:
        """See JobQueue."""
        while True:
            with self._lock:
                found = self._next(self._wall())
                if found is None:
                    return None
                found.job = claim(found.job, self._wall(), holder=holder, lease_s=lease_s)
                if found.job.open:
                    return found.job

    def close(self) -> None:
        """Nothing to let go of."""

    def _find(self, tenant: str, id_: str) -> _Kept:
        kept = self._kept.get((tenant, id_))
        if kept is None or kept.job.expired(self._wall()):
            raise NotFound("job", id_)
        return kept

    def _next(self, now: float) -> _Kept | None:
        served: dict[str, float] = {}
        for kept in self._kept.values():
            started = -math.inf if (at := kept.job.started_at) is None or at > now else at
            served[kept.job.tenant] = max(started, served.get(kept.job.tenant, -math.inf))
        waiting = (kept for kept in self._kept.values() if kept.job.waits(now) and not kept.job.expired(now))
        return min(waiting, key=lambda kept: (served[kept.job.tenant], kept.job.id), default=None)


class SqliteJobs(Database):
    """Keeps jobs in a file in write-ahead mode, where they survive the end of every process.

    Opened, shared and failing as its Database.
    """

    def __init__(self, path: Path, parts: JobParts, *, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._parts = parts
        super().__init__(path)

    def submit(self, job: Job, body: bytes, *, key: str | None = None, most: int = MOST_OPEN) -> Job:
        """See JobStore."""
        self._forget_expired()
        kept = None
        try:
            kept = self._submitted(job, self._kept_inline(job, BODY, body), key, most)
            return kept
        finally:
            if kept != job and len(body) > INLINE_BYTES:
                self._parts.drop(job.tenant, job.id)

    def _submitted(self, job: Job, body: bytes | None, key: str | None, most: int) -> Job:
        with self._writing() as database:
            known = _of_key(database, job.tenant, key, self._wall())
            if known is not None:
                return same(known, job)
            (open_,) = database.execute(
                "SELECT count(*) FROM job WHERE tenant = ? AND state IN ('queued', 'running')", (job.tenant,)
            ).fetchone()
            if open_ >= most:
                raise TooManyJobs(most)
            database.execute(
                "INSERT INTO job (id, tenant, state, lease, expires, key, keyed, job, body)"
                " VALUES (?, ?, ?, 0.0, ?, ?, ?, ?, ?)",
                (job.id, job.tenant, job.state, job.expires_at, key, job.submitted_at + KEPT_S, _text(job), body),
            )
        return job

    def job(self, tenant: str, id_: str) -> Job:
        """See JobStore."""
        with self._reading() as database:
            return self._found(database, tenant, id_)

    def jobs(self, tenant: str, limit: int) -> tuple[Job, ...]:
        """See JobStore."""
        with self._reading() as database:
            rows = database.execute(NEWEST, (tenant, self._wall(), limit)).fetchall()
        return tuple(_job(row[0]) for row in rows)

    def body(self, job: Job) -> bytes:
        """See JobStore."""
        if not self.job(job.tenant, job.id).open:
            raise NotFound("body of job", job.id)
        return self._part(job, BODY, "SELECT body FROM job WHERE id = ?")

    def result(self, job: Job) -> bytes:
        """See JobStore."""
        found = self.job(job.tenant, job.id)
        if found.state is not JobState.SUCCEEDED:
            raise NotFound("result of job", job.id)
        return self._part(found, result_part(found), "SELECT result FROM job WHERE id = ?")

    def move(self, tenant: str, id_: str, step: Step, *, result: bytes | None = None) -> Job:
        """See JobStore."""
        inline = None
        if result is not None and (moved := step(self.job(tenant, id_), self._wall())).state is JobState.SUCCEEDED:
            inline = self._kept_inline(moved, result_part(moved), result)
        with self._writing() as database:
            job = self._found(database, tenant, id_)
            return self._moved(database, job, step(job, self._wall()), inline)

    def claim_next(self, holder: str, lease_s: float) -> Job | None:
        """See JobQueue; where none waits there is time to forget what has expired, also if nobody submits any more."""
        claimed = self._claimed(holder, lease_s)
        if claimed is None:
            self._forget_expired()
        return claimed

    def _claimed(self, holder: str, lease_s: float) -> Job | None:
        step = partial(claim, holder=holder, lease_s=lease_s)
        while True:
            with self._writing() as database:
                now = self._wall()
                row = database.execute(
                    NEXT, {"now": now, "held": now + AHEAD_S[True], "paused": now + AHEAD_S[False]}
                ).fetchone()
                if row is None:
                    return None
                job = self._found(database, *row)
                moved = self._moved(database, job, step(job, now), None)
                if moved.open:
                    return moved

    def _moved(self, database: sqlite3.Connection, job: Job, moved: Job, result: bytes | None) -> Job:
        if moved != job:
            database.execute(
                "UPDATE job SET state = ?, lease = ?, started = ?, expires = ?, job = ?, result = ?,"
                " body = iif(?, body, NULL) WHERE id = ?",
                (
                    moved.state,
                    moved.lease_until,
                    moved.started_at,
                    moved.expires_at,
                    _text(moved),
                    result if moved.state is JobState.SUCCEEDED else None,
                    moved.open,
                    job.id,
                ),
            )
        return moved

    def _found(self, database: sqlite3.Connection, tenant: str, id_: str) -> Job:
        row = database.execute(
            "SELECT job FROM job WHERE id = ? AND tenant = ? AND expires > ?", (id_, tenant, self._wall())
        ).fetchone()
        if row is None:
            raise NotFound("job", id_)
        return _job(row[0])

    def _kept_inline(self, job: Job, name: str, data: bytes) -> bytes | None:
        """The data where a row may hold it; None once it is kept as a part."""
        if len(data) <= INLINE_BYTES:
            return data
        self._parts.put(job, name, data)
        return None

    def _part(self, job: Job, name: str, query: str) -> bytes:
        with self._reading() as database:
            row = database.execute(query, (job.id,)).fetchone()
        return self._parts.get(job, name) if row is None or row[0] is None else bytes(row[0])

    def _forget_expired(self) -> None:
        """Files before rows: who is stopped in between leaves what is found again."""
        with self._reading() as database:
            query = "SELECT tenant, id FROM job WHERE expires <= ? LIMIT ?"
            gone = database.execute(query, (self._wall(), FORGOTTEN_AT_ONCE)).fetchall()
        for tenant, id_ in gone:
            self._parts.drop(tenant, id_)
        if gone:
            with self._writing() as database:
                database.executemany("DELETE FROM job WHERE tenant = ? AND id = ?", gone)

    def _prepare(self) -> None:
        self._write_ahead(SCHEMA)


def same(known: Job, job: Job) -> Job:
    """The known job of a key, where it is what is submitted again; raises KeyReused."""
    if known.digest != job.digest:
        raise KeyReused(known.id)
    return known


def _of_key(database: sqlite3.Connection, tenant: str, key: str | None, now: float) -> Job | None:
    if key is None:
        return None
    row = database.execute("SELECT job FROM job WHERE tenant = ? AND key = ? AND keyed > ?", (tenant, key, now))
    found = row.fetchone()
    return None if found is None else _job(found[0])


def _text(job: Job) -> str:
    return json.dumps(to_document(job))


def _job(document: str) -> Job:
    return from_document(Job, json.loads(document))
