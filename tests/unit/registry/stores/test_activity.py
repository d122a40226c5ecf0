"""Logs of activity forget what is too old, and the file is found again."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from registry.activity import KEPT_MINUTES, ActivityLog, Usage
from registry.errors import Unavailable
from registry.model import Slo
from registry.stores.activity import MemoryActivity, SqliteActivity

NOW = 29_000_000
ONE = [Usage("digits", 1, 1, Slo())]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_two_days_are_kept(kind: str, tmp_path: Path) -> None:
    log: ActivityLog = MemoryActivity() if kind == "memory" else SqliteActivity(tmp_path / "activity.db")
    for minute in (NOW, NOW + 1, NOW + KEPT_MINUTES):
        log.add(minute, ONE)
    assert [m.minute for m in log.between(0, NOW + 2 * KEPT_MINUTES)] == [NOW + 1, NOW + KEPT_MINUTES]
    log.close()


def test_a_file_is_found_again(tmp_path: Path) -> None:
    first = SqliteActivity(tmp_path / "activity.db")
    first.add(NOW, ONE)
    first.close()
    second = SqliteActivity(tmp_path / "activity.db")
    assert [m.minute for m in second.between(NOW, NOW + 1)] == [NOW]
    second.close()


def test_an_slo_of_another_release_is_one_without_bounds(tmp_path: Path) -> None:
    log = SqliteActivity(tmp_path / "activity.db")
    log.add(NOW, [Usage("digits", 1, 1, Slo(latency_ms=5.0))])
    with sqlite3.connect(tmp_path / "activity.db") as file:
        for task, slo in (("flowers", '{"carbon_g": 1}'), ("wine", "{"), ("zoo", '{"latency_ms": -1}')):
            file.execute("INSERT INTO usage VALUES (?, ?, 1, 1, ?)", (NOW, task, slo))
    file.close()
    (minute,) = log.between(NOW, NOW + 1)
    assert [usage.slo for usage in minute.usages] == [Slo(latency_ms=5.0), Slo(), Slo(), Slo()]
    log.close()


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "activity.db").write_bytes(b"something else entirely, and long enough to be looked at" * 20)
    with pytest.raises(Unavailable):
        SqliteActivity(tmp_path / "activity.db")
