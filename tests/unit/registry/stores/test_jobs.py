"""Jobs in a file survive whoever ran them, and files that nobody needs any more go."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from registry.jobs import KEPT_S, JobState, job_id, submitted
from registry.stores.job_parts import BODY, FolderParts
from registry.stores.jobs import INLINE_BYTES, SqliteJobs
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
