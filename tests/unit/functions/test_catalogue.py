"""A function looks for a new catalogue no more often than it may, and outlives its table's bad minutes."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import pytest

from functions.aws.catalogue import MAX_AGE_S, CatalogueWatch
from gateway.snapshots import Snapshots
from registry.catalogue import Catalogue
from registry.errors import DigestMismatch, Unavailable
from registry.prices import lambda_tiers
from registry.store import update
from registry.stores.memory import MemoryStore


@dataclass
class Watched:
    store: MemoryStore = field(default_factory=MemoryStore)
    snapshots: Snapshots = field(default_factory=lambda: Snapshots(Catalogue.empty()))
    now: float = 100.0
    heads: int = 0
    down: bool = False
    damaged: bool = False
    unforeseen: bool = False
    stuck: threading.Event | None = None
    changes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        head = self.store.head

        def counted() -> int:
            self.heads += 1
            if self.stuck is not None:
                assert self.stuck.wait(60)
            if self.down:
                raise Unavailable("table facts", "it does not answer")
            if self.damaged:
                raise DigestMismatch("sha256:1", "sha256:2")
            if self.unforeseen:
                raise KeyError("version")
            return head()

        self.store.head = counted  # type: ignore[method-assign]
        self.watch = CatalogueWatch(
            self.store,
            self.snapshots,
            changed=lambda catalogue: self.changes.append(catalogue.version),
            clock=lambda: self.now,
        )

    def release(self) -> None:
        update(self.store, lambda catalogue: catalogue.with_tiers(*lambda_tiers()))

    @property
    def version(self) -> int:
        return self.snapshots.view()[0].version


def test_the_first_look_takes_the_newest_catalogue() -> None:
    watched = Watched()
    watched.release()

    watched.watch.look()

    assert watched.version == 1
    assert watched.changes == [1]


def test_a_release_is_seen_once_the_last_look_is_too_old() -> None:
    watched = Watched()
    watched.watch.look()
    watched.release()

    watched.now += MAX_AGE_S
    watched.watch.look()
    assert watched.version == 0

    watched.now += 0.001
    watched.watch.look()
    assert watched.version == 1


def test_looks_in_quick_succession_read_nothing() -> None:
    watched = Watched()
    watched.watch.look()
    read = watched.heads

    watched.watch.look()

    assert watched.heads == read


def test_the_last_catalogue_stands_while_the_table_is_away() -> None:
    watched = Watched()
    watched.release()
    watched.watch.look()

    watched.down, watched.now = True, watched.now + 10
    watched.watch.look()

    assert watched.version == 1


@pytest.mark.parametrize("fault", ["damaged", "unforeseen"])
def test_the_last_catalogue_stands_while_the_newest_is_damaged(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched()
    watched.release()
    watched.watch.look()

    setattr(watched, fault, True)
    watched.now += 10
    watched.watch.look()

    assert watched.version == 1
    assert "cannot be refreshed" in caplog.text

    setattr(watched, fault, False)
    watched.release()
    watched.now += 10
    watched.watch.look()

    assert watched.version == 2


def test_no_request_waits_long_for_a_table_that_is_stuck() -> None:
    watched = Watched()
    watched.release()
    watched.watch.look()

    watched.stuck, watched.now = threading.Event(), watched.now + 10
    watched.release()
    watched.watch.look()
    assert watched.version == 1

    watched.stuck.set()
    eventually = time.monotonic() + 60
    while watched.version == 1:
        assert time.monotonic() < eventually
        watched.watch.look()
    assert watched.version == 2


def test_a_first_look_that_takes_too_long_is_the_next_events() -> None:
    watched = Watched(stuck=threading.Event())
    watched.release()
    for _ in range(2):
        with pytest.raises(Unavailable, match="still being read"):
            watched.watch.look(0.01)

    assert watched.stuck is not None
    watched.stuck.set()
    watched.watch.look(60.0)

    assert watched.version == 1
    assert watched.heads == 1


@pytest.mark.parametrize("fault", ["down", "damaged", "unforeseen"])
def test_without_any_catalogue_the_fault_is_told(fault: str) -> None:
    watched = Watched()
    setattr(watched, fault, True)

    with pytest.raises(Unavailable):
        watched.watch.look()

    setattr(watched, fault, False)
    watched.release()
    watched.watch.look()
    assert watched.version == 1
