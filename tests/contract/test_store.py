"""What every store keeps to, whichever it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from registry import prices
from registry.catalogue import Catalogue
from registry.errors import Conflict, InvalidValue, NotFound, RegistryError
from registry.model import Task, TensorSpec
from registry.store import Release, Store, update
from registry.stores.dynamodb import DynamoStore
from registry.stores.memory import MemoryStore
from registry.stores.sqlite import SqliteStore

NOON = "2026-11-23T12:00:00+00:00"


@pytest.fixture(params=["memory", "sqlite", "dynamodb"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Opens the same store once more, as another publisher would."""
    if request.param == "memory":
        store = MemoryStore(now=lambda: NOON)
        return lambda: store
    if request.param == "sqlite":
        return lambda: SqliteStore(tmp_path / "catalogue.db", now=lambda: NOON)
    table = request.getfixturevalue("table")
    return lambda: DynamoStore(table, now=lambda: NOON)


@pytest.fixture
def store(reopen: Callable[[], Store]) -> Iterator[Store]:
    opened = reopen()
    yield opened
    opened.close()


def _task(name: str) -> Task:
    return Task(name, (TensorSpec("x", "FP32", (-1, 64)),), (TensorSpec("y", "INT64", (-1,)),), "accuracy")


def _adding(name: str) -> Callable[[Catalogue], Catalogue]:
    return lambda catalogue: catalogue.with_tasks(_task(name))


def test_a_new_store_is_empty(store: Store) -> None:
    assert store.head() == 0
    assert store.load() == Catalogue.empty()
    assert store.history() == ()


def test_what_is_published_is_loaded_again(store: Store, other: Store) -> None:
    catalogue = Catalogue.empty().with_tasks(_task("digits")).with_tiers(*prices.local_tiers())
    published = store.publish(catalogue, note="first")
    assert published == catalogue.at(1)
    assert other.head() == 1
    assert other.load() == other.load(1) == published
    assert other.history() == (Release(1, NOON, "first"),)


def test_version_0_is_the_empty_catalogue_and_can_be_rolled_back_to(store: Store) -> None:
    update(store, _adding("one"))
    assert store.load(0) == Catalogue.empty()
    assert store.rollback(0) == store.load() == Catalogue.empty().at(2)


def test_every_version_stays(store: Store) -> None:
    first = store.publish(_adding("one")(Catalogue.empty()))
    second = store.publish(_adding("two")(first))
    assert (store.load(1), store.load(2)) == (first, second)
    assert [r.version for r in store.history()] == [1, 2]


@pytest.mark.parametrize("version", [-1, 2, 99, 2**63])
def test_an_unknown_version_is_not_found(store: Store, version: int) -> None:
    store.publish(Catalogue.empty())
    with pytest.raises(NotFound, match="version"):
        store.load(version)
    with pytest.raises(NotFound, match="version"):
        store.rollback(version)
    assert store.head() == 1


@pytest.mark.parametrize("base", [0, 2])
def test_a_publication_based_on_another_version_conflicts_and_writes_nothing(store: Store, base: int) -> None:
    kept = store.publish(_adding("one")(Catalogue.empty()), note="kept")
    with pytest.raises(Conflict) as caught:
        store.publish(_adding("two")(Catalogue.empty()).at(base))
    assert (caught.value.expected, caught.value.actual) == (base, 1)
    assert store.load() == kept
    assert store.history() == (Release(1, NOON, "kept"),)


def test_update_edits_the_newest_catalogue_after_a_lost_race(store: Store, other: Store) -> None:
    raced = iter((True, False))

    def edit(catalogue: Catalogue) -> Catalogue:
        if next(raced):
            update(other, _adding("theirs"))
        return _adding("ours")(catalogue)

    published = update(store, edit, note="ours")
    assert set(published.tasks) == {"ours", "theirs"}
    assert published.version == 2
    assert store.load() == other.load() == published


def test_an_edit_that_raises_leaves_the_store_as_it_was(store: Store) -> None:
    kept = update(store, _adding("digits"))

    def edit(catalogue: Catalogue) -> Catalogue:
        return catalogue.with_tasks(_task("fine"), _task("not a name"))

    with pytest.raises(InvalidValue, match=r"task\.name"):
        update(store, edit)
    assert store.load() == kept
    assert store.head() == len(store.history()) == 1


def test_rollback_releases_the_old_facts_as_a_new_version(store: Store) -> None:
    first = update(store, _adding("one"))
    second = update(store, _adding("two"))
    assert store.rollback(1) == first.at(3)
    assert store.load() == first.at(3)
    assert store.load(2) == second
    assert store.history()[-1] == Release(3, NOON, "rollback to 1")
    assert store.rollback(2) == second.at(4)


def test_two_publishers_in_turn_see_each_other(store: Store, other: Store) -> None:
    for i in range(4):
        update((store, other)[i % 2], _adding(f"task-{i}"))
    assert len(store.load().tasks) == len(other.load().tasks) == 4


def test_a_note_may_hold_anything(store: Store) -> None:
    note = "quote ' \" ; DROP TABLE release; -- é 漢字 🙂\n"
    update(store, _adding("one"), note=note)
    assert store.history()[0].note == note


def test_closing_twice_is_harmless(store: Store) -> None:
    store.close()
    store.close()


def test_racing_threads_lose_no_update(reopen: Callable[[], Store]) -> None:
    threads, edits = 4, 3
    barrier = threading.Barrier(threads)

    def work(worker: int) -> None:
        store = reopen()
        barrier.wait(timeout=30)
        for i in range(edits):
            update(store, _adding(f"task-{worker}-{i}"))
        store.close()

    running = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(timeout=60)
    store = reopen()
    assert len(store.load().tasks) == store.head() == threads * edits
    assert [r.version for r in store.history()] == list(range(1, threads * edits + 1))
    store.close()


def at_once(reopen: Callable[[], Store], works: Sequence[Callable[[Store], object]]) -> list[object]:
    """What each work returned or raised, all begun at the same time, each on a store of its own."""
    barrier, outcomes = threading.Barrier(len(works)), list[object](works)

    def run(index: int) -> None:
        store = reopen()
        barrier.wait(timeout=30)
        try:
            outcomes[index] = works[index](store)
        except RegistryError as error:
            outcomes[index] = error
        store.close()

    running = [threading.Thread(target=run, args=(n,)) for n in range(len(works))]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(timeout=60)
    return outcomes


def test_of_publishers_on_one_base_one_wins(reopen: Callable[[], Store], store: Store) -> None:
    base = update(store, _adding("base"))
    names = [f"task-{n}" for n in range(4)]
    outcomes = at_once(reopen, [lambda s, name=name: s.publish(_adding(name)(base), note=name) for name in names])

    (won,) = [outcome for outcome in outcomes if isinstance(outcome, Catalogue)]
    assert [type(outcome) for outcome in outcomes].count(Conflict) == len(names) - 1
    assert store.load() == won
    assert [(r.version, r.note in won.tasks) for r in store.history()][1:] == [(2, True)]


def test_rollbacks_and_updates_at_once_are_all_released_whole(reopen: Callable[[], Store], store: Store) -> None:
    first = update(store, _adding("first"))
    updates = [lambda s, n=n: update(s, _adding(f"task-{n}")) for n in range(2)]
    outcomes = at_once(reopen, [*updates, *(lambda s: s.rollback(1) for _ in range(2))])

    released = {outcome.version: outcome for outcome in outcomes if isinstance(outcome, Catalogue)}
    assert sorted(released) == list(range(2, 6))
    assert {version: store.load(version) for version in released} == released
    assert store.load(1) == first
    assert [r.note for r in store.history()].count("rollback to 1") == 2
