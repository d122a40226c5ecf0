"""What every store of leases keeps to, whichever it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from registry.leases import SKEW_S, Lease, Leases
from registry.stores.dynamodb_leases import SHARDS, DynamoLeases
from registry.stores.dynamodb_table import DynamoTable
from registry.stores.leases import MemoryLeases, SqliteLeases

NOW = 1_700_000_000.0
GPU = "gpu-sagemaker-g6"


@dataclass
class Wall:
    """A clock that tests set."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall() -> Wall:
    return Wall()


Reopen = Callable[[Callable[[], float]], Leases]


@pytest.fixture(params=["memory", "sqlite", "dynamodb"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path, wall: Wall) -> Reopen:
    """Opens the same leases once more, as another process would, with a clock of its own."""
    if request.param == "memory":
        kept = MemoryLeases(wall=wall)
        return lambda clock: kept
    if request.param == "sqlite":
        return lambda clock: SqliteLeases(tmp_path / "leases.db", wall=clock)
    table = request.getfixturevalue("table")
    return lambda clock: DynamoLeases(table, wall=clock)


@pytest.fixture
def leases(reopen: Reopen, wall: Wall) -> Iterator[Leases]:
    opened = reopen(wall)
    yield opened
    opened.close()


@pytest.fixture
def other(reopen: Reopen, wall: Wall) -> Iterator[Leases]:
    opened = reopen(wall)
    yield opened
    opened.close()


def taken(leases: Leases, count: int, *, most: int, for_s: float = 10.0) -> list[Lease]:
    found = [leases.acquire(GPU, f"holder-{i}", most=most, for_s=for_s) for i in range(count)]
    return [lease for lease in found if lease is not None]


def test_no_more_are_given_than_there_are(leases: Leases, other: Leases) -> None:
    assert len(taken(leases, 3, most=3)) == 3
    assert other.acquire(GPU, "late", most=3, for_s=10.0) is None
    assert leases.held(GPU) == other.held(GPU) == 3
    assert other.acquire("another", "late", most=3, for_s=10.0) is not None


def test_a_lease_says_whose_it_is_and_until_when(leases: Leases) -> None:
    (lease,) = taken(leases, 1, most=1, for_s=7.5)
    assert (lease.resource, lease.holder, lease.until) == (GPU, "holder-0", NOW + 7.5)


def test_what_is_given_back_is_another_s(leases: Leases, other: Leases) -> None:
    (lease,) = taken(leases, 1, most=1)
    other.release(lease)
    assert leases.held(GPU) == 0
    assert other.acquire(GPU, "next", most=1, for_s=10.0) is not None


def test_giving_back_twice_takes_it_from_nobody(leases: Leases, other: Leases) -> None:
    (lease,) = taken(leases, 1, most=1)
    leases.release(lease)
    assert other.acquire(GPU, "next", most=1, for_s=10.0) is not None
    leases.release(lease)
    assert leases.held(GPU) == 1
    assert leases.acquire(GPU, "third", most=1, for_s=10.0) is None


def test_asking_again_gives_the_same_one(leases: Leases, other: Leases, wall: Wall) -> None:
    """An answer that was lost on the way has taken it all the same."""
    first = leases.acquire(GPU, "me", most=2, for_s=10.0)
    wall.now += 4.0
    again = other.acquire(GPU, "me", most=2, for_s=10.0)
    assert first is not None
    assert again == Lease(GPU, first.slot, "me", NOW + 14.0)
    assert leases.held(GPU) == 1


@pytest.mark.parametrize("taken_first", [0, 5])
def test_asking_again_gives_the_same_one_however_full_it_is(leases: Leases, other: Leases, taken_first: int) -> None:
    taken(leases, taken_first, most=6)
    first, again = (store.acquire(GPU, "me", most=6, for_s=10.0) for store in (leases, other))
    assert first == again is not None
    assert leases.held(GPU) == taken_first + 1


def test_what_a_crash_left_is_free_when_its_time_is_over(leases: Leases, other: Leases, wall: Wall) -> None:
    (lost,) = taken(leases, 1, most=1, for_s=10.0)
    wall.now += 10.0 + SKEW_S - 0.01
    assert other.acquire(GPU, "next", most=1, for_s=10.0) is None
    wall.now += 0.02
    assert other.held(GPU) == 0
    held = other.acquire(GPU, "next", most=1, for_s=10.0)
    assert held is not None
    leases.release(lost)  # who was taken for dead gives back nothing of the next one's
    assert other.held(GPU) == 1


def test_a_clock_that_is_ahead_takes_nothing_from_its_holder(reopen: Reopen, wall: Wall) -> None:
    leases, fast = reopen(wall), reopen(Wall(NOW + SKEW_S * 0.9))
    taken(leases, 1, most=1, for_s=10.0)
    wall.now += 10.0  # the memory's one clock is everybody's
    assert fast.acquire(GPU, "hasty", most=1, for_s=10.0) is None
    for opened in (leases, fast):
        opened.close()


def test_fewer_may_be_given_than_before(leases: Leases) -> None:
    taken(leases, 4, most=4)
    assert leases.acquire(GPU, "late", most=2, for_s=10.0) is None


def test_of_a_crowd_as_many_as_there_are_have_one(reopen: Reopen, wall: Wall) -> None:
    crowd, most = 8, 3
    barrier = threading.Barrier(crowd)
    won: list[Lease] = []

    def work(number: int) -> None:
        leases = reopen(wall)
        barrier.wait(timeout=30)
        lease = leases.acquire(GPU, f"holder-{number}", most=most, for_s=10.0)
        if lease is not None:
            won.append(lease)
        leases.close()

    running = [threading.Thread(target=work, args=(number,)) for number in range(crowd)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(timeout=60)
    assert 1 <= len(won) <= most
    leases = reopen(wall)
    assert leases.held(GPU) == len(won)
    # Those that saw the same free slot may all have missed another one: who asks next gets it.
    rest = taken(leases, crowd, most=most)
    assert len({lease.holder for lease in (*won, *rest)}) >= most
    assert leases.held(GPU) == most
    leases.close()


def test_never_more_at_a_time_while_many_come_and_go(reopen: Reopen, wall: Wall) -> None:
    crowd, most, times = 4, 2, 4
    barrier, lock = threading.Barrier(crowd), threading.Lock()
    now, peak = 0, 0

    def work(number: int) -> None:
        nonlocal now, peak
        leases = reopen(wall)
        barrier.wait(timeout=30)
        for turn in range(times):
            lease = leases.acquire(GPU, f"{number}-{turn}", most=most, for_s=10.0)
            if lease is None:
                continue
            with lock:
                now += 1
                peak = max(peak, now)
            with lock:
                now -= 1
            leases.release(lease)
        leases.close()

    running = [threading.Thread(target=work, args=(number,)) for number in range(crowd)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(timeout=60)
    assert 1 <= peak <= most
    leases = reopen(wall)
    assert leases.held(GPU) == 0
    leases.close()


# What DynamoDB's cost


class Counted:
    """A table whose calls are counted by name."""

    def __init__(self, table: DynamoTable) -> None:
        self.calls: list[str] = []
        table.client.meta.events.register("before-call.dynamodb", self._note)

    def _note(self, model: Any, **_: Any) -> None:
        self.calls.append(model.name)


def test_a_lease_is_two_writes(table: DynamoTable, wall: Wall) -> None:
    leases, counted = DynamoLeases(table, wall=wall), Counted(table)
    lease = leases.acquire(GPU, "me", most=8, for_s=10.0)
    assert lease is not None
    leases.release(lease)
    assert counted.calls == ["UpdateItem", "DeleteItem"]


def test_a_refusal_is_one_write_and_a_read_of_each_shard(table: DynamoTable, wall: Wall) -> None:
    leases = DynamoLeases(table, wall=wall)
    assert len(taken(leases, 8, most=8)) == 8
    counted = Counted(table)
    assert leases.acquire(GPU, "late", most=8, for_s=10.0) is None
    assert counted.calls == ["UpdateItem", *["Query"] * SHARDS]


def test_slots_are_spread_over_partitions_and_named_for_their_tier(table: DynamoTable, wall: Wall) -> None:
    taken(DynamoLeases(table, wall=wall), 8, most=8)
    items = table.client.scan(TableName=table.name)["Items"]
    assert {item["pk"]["S"] for item in items} == {f"LEASE#{GPU}#{shard}" for shard in range(SHARDS)}
    assert all(int(item["ttl"]["N"]) > float(item["until"]["N"]) for item in items)
