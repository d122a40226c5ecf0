"""What is given is done by when it was given, and what it raises is its future's."""

from __future__ import annotations

import pytest

from benchmarks.at_once import AtOnce


def test_the_result_is_there() -> None:
    done: list[int] = []

    future = AtOnce().submit(done.append, 3)

    assert done == [3]
    assert future.done()
    assert future.result() is None


def test_what_is_raised_comes_with_the_result() -> None:
    future = AtOnce().submit(int, "three")

    assert future.done()
    with pytest.raises(ValueError, match="three"):
        future.result()
