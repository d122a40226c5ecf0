"""What every keeper of receipt keys keeps to, whichever it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from registry.receipt_keys import PERIOD_S, SECRET_BYTES, MemoryReceiptKeys, ReceiptKeys
from registry.stores.dynamodb_receipt_keys import DynamoReceiptKeys


@dataclass
class Clock:
    """The middle of a period, until it is moved."""

    now: float = 700.5 * PERIOD_S
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "dynamodb"])
def reopen(request: pytest.FixtureRequest, clock: Clock) -> Callable[[], ReceiptKeys]:
    """The same keys, as another environment has them."""
    if request.param == "memory":
        keys = MemoryReceiptKeys(wall=clock)
        return lambda: keys
    table = request.getfixturevalue("table")
    return lambda: DynamoReceiptKeys(table, wall=clock)


def test_everybody_signs_with_the_same_key(reopen: Callable[[], ReceiptKeys]) -> None:
    first, second = reopen().current(), reopen().current()
    assert first == second
    assert len(first.secret) == SECRET_BYTES
    assert reopen().find(first.id) == first


def test_each_period_has_a_key_of_its_own_and_the_last_one_is_still_good(
    reopen: Callable[[], ReceiptKeys], clock: Clock
) -> None:
    keys = reopen()
    first = keys.current()
    clock.now += PERIOD_S
    second = keys.current()
    assert first != second
    assert first.secret != second.secret
    for each in (keys, reopen()):
        assert (each.find(first.id), each.find(second.id)) == (first, second)
    clock.now += PERIOD_S
    assert keys.find(first.id) is None
    assert keys.find(second.id) == second


@pytest.mark.parametrize("id_", ["", "x", "700 ", "0", "99999", "699"])
def test_a_key_that_is_not_there_is_none(reopen: Callable[[], ReceiptKeys], id_: str) -> None:
    keys = reopen()
    keys.current()
    assert keys.find(id_) is None


def test_of_many_who_need_one_at_once_all_get_the_first(reopen: Callable[[], ReceiptKeys]) -> None:
    barrier, got = threading.Barrier(4), []

    def work() -> None:
        keys = reopen()
        barrier.wait(timeout=30)
        got.append(keys.current())

    running = [threading.Thread(target=work) for _ in range(4)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(timeout=60)
    assert len(got) == 4
    assert len(set(got)) == 1
