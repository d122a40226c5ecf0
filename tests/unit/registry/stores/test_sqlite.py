"""SQLite with real processes: several at once, one that dies, files that are no store."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.catalogue import Catalogue
from registry.errors import Conflict, InvalidValue, Unavailable
from registry.model import Task
from registry.store import update
from registry.stores.sqlite import SqliteStore

PUBLISHER = """
import sys
from pathlib import Path
from registry.model import Task, TensorSpec
from registry.store import update
from registry.stores.sqlite import SqliteStore

store = SqliteStore(Path(sys.argv[1]))
tensors = (TensorSpec("x", "FP32", (-1,)),)
print("ready", flush=True)
sys.stdin.readline()
for i in range(int(sys.argv[3])):
    update(store, lambda c: c.with_tasks(Task(f"task-{sys.argv[2]}-{i}", tensors, tensors, "accuracy")))
"""

DIES_BEFORE_COMMIT = """
import os, sys
from pathlib import Path
from registry.stores.sqlite import SqliteStore

store = SqliteStore(Path(sys.argv[1]))
store._connection.execute("BEGIN IMMEDIATE")
store._connection.execute("INSERT INTO release VALUES (2, 'now', 'torn', x'00')")
os._exit(9)
"""


def _spawn(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", *(str(a) for a in arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_racing_processes_lose_no_update(tmp_path: Path) -> None:
    file, processes, edits = tmp_path / "catalogue.db", 3, 10
    running = [_spawn(PUBLISHER, file, n, edits) for n in range(processes)]
    try:
        for process in running:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        for process in running:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [process.wait(timeout=120) for process in running] == [0] * processes
    finally:
        for process in running:
            process.kill()
            process.communicate()
    store = SqliteStore(file)
    expected = {f"task-{n}-{i}" for n in range(processes) for i in range(edits)}
    assert set(store.load().tasks) == expected
    assert [r.version for r in store.history()] == list(range(1, len(expected) + 1))
    store.close()


def test_a_publisher_that_dies_before_its_commit_leaves_no_trace(tmp_path: Path, catalogue: Catalogue) -> None:
    store = SqliteStore(tmp_path / "catalogue.db")
    kept = store.publish(catalogue)
    died = _spawn(DIES_BEFORE_COMMIT, tmp_path / "catalogue.db")
    died.communicate(timeout=60)
    assert died.returncode == 9
    assert store.load() == kept
    assert store.head() == 1
    assert store.publish(kept).version == 2
    store.close()


def test_what_is_published_outlives_the_process(tmp_path: Path, catalogue: Catalogue) -> None:
    store = SqliteStore(tmp_path / "deep" / "catalogue.db")
    published = store.publish(catalogue, note="kept")
    store.close()
    again = SqliteStore(tmp_path / "deep" / "catalogue.db")
    assert again.load() == published
    again.close()


def test_readers_do_not_wait_for_a_writer(tmp_path: Path, catalogue: Catalogue) -> None:
    file = tmp_path / "catalogue.db"
    store = SqliteStore(file)
    published = store.publish(catalogue)
    writer = sqlite3.connect(file, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert store.load() == published
    writer.execute("ROLLBACK")
    writer.close()
    store.close()


def test_a_conflict_ends_its_transaction(tmp_path: Path, catalogue: Catalogue, make_task: Callable[..., Task]) -> None:
    one, two = SqliteStore(tmp_path / "catalogue.db"), SqliteStore(tmp_path / "catalogue.db")
    one.publish(catalogue)
    with pytest.raises(Conflict):
        two.publish(catalogue)
    assert update(one, lambda c: c.with_tasks(make_task("next"))).version == 2
    one.close()
    two.close()


def test_a_file_that_is_no_database_is_unavailable_and_untouched(tmp_path: Path) -> None:
    file = tmp_path / "catalogue.db"
    file.write_bytes(b"a letter to my aunt, " * 100)
    with pytest.raises(Unavailable, match=r"catalogue\.db: file is not a database"):
        SqliteStore(file)
    assert file.read_bytes() == b"a letter to my aunt, " * 100


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable, match="file"):
        SqliteStore(tmp_path / "file" / "catalogue.db")


def test_a_closed_store_is_unavailable(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "catalogue.db")
    store.close()
    with pytest.raises(Unavailable, match="closed"):
        store.head()


def test_a_damaged_snapshot_is_refused_and_others_still_load(tmp_path: Path, catalogue: Catalogue) -> None:
    file = tmp_path / "catalogue.db"
    store = SqliteStore(file)
    first = store.publish(catalogue)
    store.publish(first)
    database = sqlite3.connect(file)
    database.execute("UPDATE release SET snapshot = ? WHERE version = 2", (os.urandom(100),))
    database.commit()
    database.close()
    with pytest.raises(InvalidValue, match="roll back to an older version"):
        store.load()
    assert store.load(1) == first
    with pytest.raises(InvalidValue):
        store.load(2)
    store.close()


def test_rollback_mends_a_damaged_head(tmp_path: Path, catalogue: Catalogue) -> None:
    file = tmp_path / "catalogue.db"
    store = SqliteStore(file)
    first = store.publish(catalogue)
    store.publish(first)
    database = sqlite3.connect(file)
    database.execute("UPDATE release SET snapshot = x'00' WHERE version = 2")
    database.commit()
    database.close()
    assert store.rollback(1) == first.at(3)
    assert store.load() == first.at(3)
    store.close()
