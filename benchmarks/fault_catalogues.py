"""Scenarios of the catalogue: many publishers and readers over one store that fails; never torn, nothing lost."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.fault_client import Died, FaultyClient, emulated
from benchmarks.fault_tally import End, Phase, Tally
from registry.catalogue import Catalogue
from registry.errors import RegistryError
from registry.model import Task, TensorSpec
from registry.store import Store, update
from registry.stores.dynamodb import DynamoStore
from registry.stores.sqlite import SqliteStore

PUBLISHERS, READERS = 4, 4
DEADLINE_S = 60.0
"""None of these operations has one; what takes longer than this hangs."""

NAMES = ("left", "right")
"""Tasks that only ever change together: who sees one without the other has seen a torn catalogue."""


@dataclass(slots=True)
class Trial:
    """A store under test: how to open it anew, when it fails, and what was said to have been published."""

    open: Callable[[], Store]
    fail: Callable[[bool], None]
    said: list[str] = field(default_factory=list)
    """Pairs whose publication was confirmed."""
    died: int = 0


def throttled(seed: int) -> Iterator[Trial]:
    """A fifth of all calls to DynamoDB are throttled."""
    yield from _dynamo(seed, refused=0.2)


def unanswered(seed: int) -> Iterator[Trial]:
    """A fifth of all calls to DynamoDB are carried out, and the answer is lost."""
    yield from _dynamo(seed, unanswered=0.2)


def dying(seed: int) -> Iterator[Trial]:
    """A tenth of all calls to DynamoDB are the caller's last."""
    yield from _dynamo(seed, died=0.1)


def full(seed: int) -> Iterator[Trial]:
    """SQLite's disk is full."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "catalogue.db"
        stores: list[SqliteStore] = []

        def opened() -> Store:
            stores.append(SqliteStore(path))
            return stores[-1]

        def fail(broken: bool) -> None:
            for store in stores:
                limit = _pages(store) if broken else 1 << 30
                store._connection.execute(f"PRAGMA max_page_count = {limit}")

        yield Trial(opened, fail)


def locked(seed: int) -> Iterator[Trial]:
    """Somebody else holds SQLite's write lock, again and again for a tenth of a second."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "catalogue.db"
        holder = ThreadPoolExecutor(1)
        on = [False]

        def hold() -> None:
            other = sqlite3.connect(path, timeout=10.0, isolation_level=None)
            while on[0]:
                other.execute("BEGIN IMMEDIATE")
                time.sleep(0.1)
                other.execute("ROLLBACK")
                time.sleep(0.02)
            other.close()

        def fail(broken: bool) -> None:
            on[0] = broken
            if broken:
                holder.submit(hold)

        yield Trial(lambda: SqliteStore(path), fail)
        holder.shutdown()


@dataclass(frozen=True, slots=True)
class Scenario:
    """A store and how it fails."""

    name: str
    trial: Callable[[int], Iterator[Trial]]


SCENARIOS = (
    Scenario("DynamoDB throttles publishers and readers", throttled),
    Scenario("DynamoDB's answers are lost", unanswered),
    Scenario("publishers die half way", dying),
    Scenario("SQLite's disk is full", full),
    Scenario("SQLite's write lock is held", locked),
)


def run(scenario: Scenario, operations: int, seed: int) -> Tally:
    """Publish and read in three phases; raises AssertionError for a torn, lost or doubled release."""
    tally = Tally(scenario.name, "stores")
    with contextmanager(scenario.trial)(seed) as trial, ThreadPoolExecutor(PUBLISHERS + READERS) as pool:
        stores = [trial.open() for _ in range(PUBLISHERS + READERS)]
        for phase in Phase:
            trial.fail(phase is Phase.DURING)
            publishing, reading = stores[:PUBLISHERS], stores[PUBLISHERS:]
            work = [
                pool.submit(_publish, trial, tally, phase, s, [f"{phase}-{n}-{i}" for i in range(operations)])
                for n, s in enumerate(publishing)
            ]
            work += [pool.submit(_read, tally, phase, s, operations) for s in reading]
            for one in work:
                one.result()
        trial.fail(False)
        _audit(trial, tally, stores[0])
        for store in stores:
            store.close()
    tally.notes["died"] = trial.died
    tally.check()
    return tally


def _publish(trial: Trial, tally: Tally, phase: Phase, store: Store, pairs: Sequence[str]) -> None:
    for pair in pairs:
        began = time.monotonic()
        try:
            update(store, partial(_with_pair, pair))
        except Died:
            trial.died += 1
            end = End.CLEAR_ERROR
        except RegistryError as error:
            end = End.CLEAR_ERROR if str(error) else End.LOST
        else:
            trial.said.append(pair)
            end = End.ANSWERED
        tally.ended(phase, end, time.monotonic() - began, DEADLINE_S)


def _read(tally: Tally, phase: Phase, store: Store, operations: int) -> None:
    seen = 0
    for _ in range(operations):
        began = time.monotonic()
        try:
            catalogue = store.load()
        except (RegistryError, Died) as error:
            end = End.CLEAR_ERROR if str(error) else End.LOST
        else:
            assert catalogue.version >= seen, "a reader was taken back to an older release"
            seen = catalogue.version
            _whole(catalogue)
            end = End.ANSWERED
        tally.ended(phase, end, time.monotonic() - began, DEADLINE_S)


def _audit(trial: Trial, tally: Tally, store: Store) -> None:
    """What was confirmed is there, once, in a log without gaps."""
    pairs = _whole(store.load())
    tally.jobs_lost += len(set(trial.said) - pairs)
    versions = [release.version for release in store.history()]
    assert versions == list(range(1, len(versions) + 1)), "the log has a gap, or a version twice"
    # Each release added at least one pair; one that added none was published twice.
    tally.duplicated += max(0, len(versions) - len(pairs))


def _whole(catalogue: Catalogue) -> set[str]:
    """The pairs of a catalogue; raises AssertionError for half a pair."""
    halves = [{t.removeprefix(f"{name}-") for t in catalogue.tasks if t.startswith(f"{name}-")} for name in NAMES]
    assert halves[0] == halves[1], "a catalogue was torn"
    return halves[0]


def _with_pair(pair: str, base: Catalogue) -> Catalogue:
    return base.with_tasks(*(_task(f"{name}-{pair}") for name in NAMES))


def _task(name: str) -> Task:
    return Task(name, (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 1)),), "accuracy")


def _dynamo(seed: int, **rates: float) -> Iterator[Trial]:
    with emulated() as client:
        random = Random(seed)
        faulty: Any = FaultyClient(client, random, **rates)
        faulty.on = False

        def fail(broken: bool) -> None:
            faulty.on = broken

        yield Trial(lambda: DynamoStore("facts", client=faulty), fail)


def _pages(store: SqliteStore) -> int:
    return int(store._connection.execute("PRAGMA page_count").fetchone()[0])
