"""Updating: a lost race is run again, a hundred in a row is a fault."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from registry.catalogue import Catalogue
from registry.errors import Conflict, InvalidValue
from registry.store import ATTEMPTS, update, utc_now
from registry.stores.memory import MemoryStore


class Beaten(MemoryStore):
    """A store in which another publisher is always a moment faster."""

    def publish(self, catalogue: Catalogue, *, note: str = "") -> Catalogue:
        super().publish(super().load(), note="theirs")
        return super().publish(catalogue, note=note)


def test_a_publisher_that_always_loses_gives_up_with_a_conflict() -> None:
    store = Beaten()
    with pytest.raises(Conflict):
        update(store, lambda catalogue: catalogue)
    assert store.head() == ATTEMPTS
    assert {release.note for release in store.history()} == {"theirs"}


def test_an_edit_that_fails_is_not_tried_again() -> None:
    tried: list[int] = []

    def edit(catalogue: Catalogue) -> Catalogue:
        tried.append(catalogue.version)
        raise InvalidValue("x", "is wrong", "mend it")

    with pytest.raises(InvalidValue):
        update(MemoryStore(), edit)
    assert tried == [0]


def test_an_edit_cannot_choose_its_version(catalogue: Catalogue) -> None:
    store = MemoryStore()
    store.publish(Catalogue.empty())
    assert update(store, lambda _: catalogue.at(99)) == catalogue.at(2)


def test_now_is_in_utc_to_the_second() -> None:
    now = utc_now()
    assert now.endswith("+00:00")
    assert abs((datetime.now(UTC) - datetime.fromisoformat(now)).total_seconds()) < 60
    assert datetime.fromisoformat(now).microsecond == 0
