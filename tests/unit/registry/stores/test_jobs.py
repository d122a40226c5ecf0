"""Jobs in a file survive whoever ran them, and files that nobody needs any more go."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from registry.errors import KeyReused, TooManyJobs, Unavailable
from registry.jobs import KEPT_S, JobState, job_id, submitted
from registry.stores.job_parts import BODY, FolderParts
from registry.stores.jobs import INLINE_BYTES, NEWEST, NEXT, SqliteJobs
from registry.tenants import tenant_hash

PROGRAM = """
import os, signal, sys
from pathlib import Path
from registry.jobs import job_id, submitted
from registry.stores.job_parts import FolderParts
from registry.stores.jobs import SqliteJobs

store = SqliteJobs(Path(sys.argv[1]) / "jobs.db", FolderParts(Path(sys.argv[1])), wall=lambda: 100.0)
for i in range(3):
    store.submit(submitted(job_id(100.0 + i, bytes(10)), "acme", "digits", "d", 100.0), b"body" * (i * 50_000 + 1))
store.claim_next("gone", 30.0)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_jobs_survive_the_kill_of_who_ran_them(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    store = SqliteJobs(tmp_path / "jobs.db", FolderParts(tmp_path), wall=lambda: 120.0)
    third, second, first = store.jobs("acme", 10)
    assert [job.state for job in (first, second, third)] == [JobState.RUNNING, JobState.QUEUED, JobState.QUEUED]
    assert len(store.body(third)) == 4 * 100_001
    assert [getattr(store.claim_next("next", 30.0), "id", None) for _ in range(3)] == [second.id, third.id, None]
    store.close()
    later = SqliteJobs(tmp_path / "jobs.db", FolderParts(tmp_path), wall=lambda: 130.0)
    again = later.claim_next("next", 30.0)
    assert again is not None
    assert (again.id, again.attempts, later.body(again)) == (first.id, 2, b"body")
    later.close()


def test_the_files_of_what_is_forgotten_go_with_it(tmp_path: Path) -> None:
    now = [100.0]
    store = SqliteJobs(tmp_path / "jobs.db", FolderParts(tmp_path), wall=lambda: now[0])
    large = submitted(job_id(now[0], bytes(10)), "acme", "digits", "d", now[0])
    store.submit(large, bytes(INLINE_BYTES + 1))
    file = tmp_path / tenant_hash("acme") / large.id / BODY
    assert file.stat().st_size == INLINE_BYTES + 1
    now[0] += KEPT_S
    store.submit(submitted(job_id(now[0], bytes(10)), "acme", "digits", "d", now[0]), b"{}")
    assert not file.parent.exists()
    assert file.parent.parent.exists()
    store.close()


def test_what_has_expired_goes_also_where_nobody_submits_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.stores.jobs.FORGOTTEN_AT_ONCE", 2)
    now = [100.0]
    store = SqliteJobs(tmp_path / "jobs.db", FolderParts(tmp_path / "parts"), wall=lambda: now[0])
    for i in range(3):
        store.submit(submitted(job_id(now[0] + i, bytes(10)), "acme", "digits", "d", now[0]), bytes(INLINE_BYTES + 1))
    now[0] += KEPT_S
    left: list[tuple[int, int]] = []
    for _ in range(2):
        assert store.claim_next("w", 30.0) is None
        with closing(sqlite3.connect(tmp_path / "jobs.db")) as database:
            (rows,) = database.execute("SELECT count(*) FROM job").fetchone()
        left.append((rows, len(list((tmp_path / "parts").rglob(BODY)))))
    assert left == [(1, 1), (0, 0)]
    store.close()


def test_what_is_refused_or_known_already_leaves_no_file(tmp_path: Path) -> None:
    store = SqliteJobs(tmp_path / "jobs.db", FolderParts(tmp_path / "parts"), wall=lambda: 100.0)
    large, digests = bytes(INLINE_BYTES + 1), ("d", "d", "other")
    first, again, other = (
        submitted(job_id(100.0, bytes([i] * 10)), "acme", "digits", d, 100.0) for i, d in enumerate(digests)
    )
    store.submit(first, large, key="k")
    assert store.submit(again, large, key="k") == first
    with pytest.raises(KeyReused):
        store.submit(other, large, key="k")
    with pytest.raises(TooManyJobs):
        store.submit(other, large, most=1)
    assert [path.parent.name for path in (tmp_path / "parts").rglob(BODY)] == [first.id]
    assert store.body(first) == large
    store.close()


def test_a_file_that_cannot_be_written_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    job = submitted(job_id(100.0, bytes(10)), "acme", "digits", "d", 100.0)
    store = SqliteJobs(tmp_path / "jobs.db", FolderParts(tmp_path / "parts"), wall=lambda: 100.0)
    with pytest.raises(Unavailable):
        store.submit(job, bytes(INLINE_BYTES + 1))
    assert not list((tmp_path / "parts").glob("*/*"))
    store.close()


@pytest.mark.parametrize(
    ("query", "given"), [(NEXT, {"now": 0.0, "held": 0.0, "paused": 0.0}), (NEWEST, ("acme", 0.0, 1))]
)
def test_who_is_next_and_what_is_newest_are_found_without_reading_every_job(
    tmp_path: Path, query: str, given: Any
) -> None:
    SqliteJobs(tmp_path / "jobs.db", FolderParts(tmp_path)).close()
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as database:
        plan = [step for *_, step in database.execute(f"EXPLAIN QUERY PLAN {query}", given)]
    looks = [step for step in plan if " job " in f"{step} "]
    assert looks
    assert all(step.startswith("SEARCH job USING ") for step in looks)
    assert query is NEXT or not any("TEMP B-TREE" in step for step in plan)
