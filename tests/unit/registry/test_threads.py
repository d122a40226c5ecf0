"""Items worked on by several threads: all of them, at once, with the first failure told."""

from __future__ import annotations

import threading

import pytest

from registry.threads import begin


def test_the_caller_and_the_threads_share_the_items() -> None:
    barrier = threading.Barrier(3)
    done: list[tuple[int, int]] = []

    def work(item: int) -> None:
        barrier.wait(timeout=30)  # passes only when three are at it
        done.append((item, threading.get_ident()))

    begin(work, range(3), 2)()

    assert sorted(item for item, _ in done) == [0, 1, 2]
    assert len({thread for _, thread in done}) == 3


def test_work_begins_before_the_caller_joins_in() -> None:
    begun = threading.Event()
    finish = begin(lambda item: begun.set(), [1], 1)

    assert begun.wait(30)
    finish()


def test_without_threads_the_caller_does_it_all() -> None:
    done: list[int] = []
    finish = begin(done.append, [1, 2, 3], 0)
    assert done == []

    finish()
    assert done == [1, 2, 3]


def test_a_failure_is_raised_when_the_others_are_done() -> None:
    failed, done = threading.Event(), []

    def work(item: int) -> None:
        if item == 0:
            failed.set()
            raise ValueError("the first")
        assert failed.wait(30)
        done.append(item)

    with pytest.raises(ValueError, match="the first"):
        begin(work, range(5), 1)()
    assert done == [1, 2, 3, 4]
