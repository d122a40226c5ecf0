"""What every log of activity keeps to, whichever it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.activity import KEPT_MINUTES, ActivityLog, Minute, Usage
from registry.model import Objective, Slo
from registry.stores.activity import MemoryActivity, SqliteActivity
from registry.stores.dynamodb_activity import DynamoActivity

NOW = 29_000_000
"""A minute, the 20th of its hour."""
LOOSE, TIGHT = Slo(), Slo(latency_ms=20.0, min_accuracy=0.9, objective=Objective.COST)


@pytest.fixture(params=["memory", "sqlite", "dynamodb"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], ActivityLog]:
    """Opens the same log once more, as another environment would."""
    if request.param == "memory":
        log = MemoryActivity()
        return lambda: log
    if request.param == "sqlite":
        return lambda: SqliteActivity(tmp_path / "activity.db")
    table, shards = request.getfixturevalue("table"), iter(range(100))
    return lambda: DynamoActivity(table, shard=next(shards) % 2)


def test_a_new_log_is_empty(log: ActivityLog) -> None:
    assert log.between(NOW - KEPT_MINUTES, NOW) == ()


def test_what_is_added_adds_up_whoever_adds_it(log: ActivityLog, other: ActivityLog) -> None:
    log.add(NOW, [Usage("digits", 2, 20, LOOSE), Usage("flowers", 1, 1, LOOSE)])
    log.add(NOW, [Usage("digits", 1, 5, TIGHT)])
    assert other.between(NOW, NOW + 1) == (Minute(NOW, (Usage("digits", 3, 25, TIGHT), Usage("flowers", 1, 1, LOOSE))),)
    other.add(NOW, [Usage("digits", 4, 4, TIGHT)])
    assert log.between(NOW, NOW + 1)[0].usages[0] == Usage("digits", 7, 29, TIGHT)


def test_minutes_come_in_order_and_within_bounds(log: ActivityLog) -> None:
    minutes = (NOW + 61, NOW, NOW + 1, NOW + 59, NOW - 1)
    for minute in minutes:
        log.add(minute, [Usage("digits", 1, 1, LOOSE)])
    assert [m.minute for m in log.between(NOW - 1, NOW + 62)] == sorted(minutes)
    assert [m.minute for m in log.between(NOW, NOW + 59)] == [NOW, NOW + 1]
    assert log.between(NOW, NOW) == log.between(NOW + 1, NOW) == ()


def test_nothing_added_is_nothing(log: ActivityLog) -> None:
    log.add(NOW, [])
    assert log.between(NOW, NOW + 1) == ()


def test_a_minute_of_many_tasks(log: ActivityLog) -> None:
    usages = tuple(Usage(f"task-{i:03d}", i + 1, i + 1, TIGHT) for i in range(45))
    log.add(NOW, usages)
    assert log.between(NOW, NOW + 1) == (Minute(NOW, usages),)


def test_of_several_one_claims_a_minute(log: ActivityLog, other: ActivityLog) -> None:
    assert log.claim("evict", NOW)
    assert not other.claim("evict", NOW)
    assert not log.claim("evict", NOW - 1)
    assert other.claim("evict", NOW + 1)
    assert log.claim("prewarm", NOW)


def test_racing_threads_lose_nothing(reopen: Callable[[], ActivityLog]) -> None:
    threads, times = 4, 5
    barrier = threading.Barrier(threads)
    claims: list[bool] = []

    def work() -> None:
        log = reopen()
        barrier.wait(timeout=30)
        for _ in range(times):
            log.add(NOW, [Usage("digits", 1, 2, LOOSE)])
        claims.append(log.claim("prewarm", NOW))
        log.close()

    running = [threading.Thread(target=work) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(timeout=60)
    log = reopen()
    assert log.between(NOW, NOW + 1)[0].usages == (Usage("digits", threads * times, 2 * threads * times, LOOSE),)
    assert sorted(claims) == [False, False, False, True]
    log.close()
