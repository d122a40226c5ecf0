"""The search for the highest rate that holds: its steps, its halves and its end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.search import MOST, Search


def searched(truth: float, begin: float, step: float, within: float) -> tuple[Search, list[float]]:
    """A search where rates up to `truth` hold, and what it asked of."""
    search, asked = Search(begin, step), []
    while not search.found(within):
        asked.append(search.rate)
        search.told(search.rate <= truth)
    return search, asked


def test_steps_grow_until_a_rate_does_not_hold() -> None:
    _, asked = searched(70.0, 10.0, 2.0, 8.0)
    assert asked == [10.0, 20.0, 80.0]


def test_steps_grow_downwards_until_a_rate_holds() -> None:
    search, asked = searched(3.0, 16.0, 2.0, 4.0)
    assert asked == [16.0, 8.0, 2.0]
    assert (search.low, search.high) == (2.0, 8.0)


def test_what_lies_between_is_halved_in_logarithms() -> None:
    search, asked = searched(50.0, 16.0, 4.0, 2.0)
    assert asked == [16.0, 64.0, pytest.approx(32.0)]
    assert (search.low, search.high) == (pytest.approx(32.0), 64.0)


def test_one_step_between_them_is_near_enough_for_a_step() -> None:
    _, asked = searched(1.0, 1.0, 1.05, 1.05)
    assert asked == [1.0, 1.05]


@pytest.mark.parametrize("held", [True, False])
def test_a_search_ends_though_there_is_nothing_to_find(held: bool) -> None:
    search = Search(100.0, 1.05)
    while not search.found(1.05):
        search.told(held)
    assert search.asked == MOST
    assert (search.low > 0) is held


@given(truth=st.floats(1.0, 1e6), begin=st.floats(1.0, 1e6), step=st.floats(1.02, 4.0))
def test_the_highest_rate_is_found_as_near_as_asked_for(truth: float, begin: float, step: float) -> None:
    search, asked = searched(truth, begin, step, step)
    assert len(asked) <= MOST
    assert search.low <= truth < search.high
    if search.asked < MOST:
        assert search.high <= search.low * step * 1.0001


@pytest.mark.parametrize(("rate", "step"), [(0.0, 2.0), (-1.0, 2.0), (float("inf"), 2.0), (1.0, 1.0)])
def test_a_search_begins_at_a_rate_and_has_steps(rate: float, step: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        Search(rate, step)
