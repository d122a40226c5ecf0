"""GreedyDual-Size-Frequency against its definition, by example and by random histories."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.gdsf import GreedyDual


def test_priority_is_clock_plus_frequency_times_cost_by_size() -> None:
    order: GreedyDual[str] = GreedyDual()
    order.add("a", size=4, cost=8)
    order.hit("a")

    assert order.priority("a") == 2 * 8 / 4

    order.evict("a")
    order.add("b", size=2, cost=1)

    assert order.clock == 4
    assert order.priority("b") == 4 + 1 / 2


def test_a_large_cheap_resident_goes_before_a_small_dear_one() -> None:
    order: GreedyDual[str] = GreedyDual()
    order.add("small and dear", size=1, cost=100)
    order.add("large and cheap", size=100, cost=1)

    assert order.victim() == "large and cheap"


def test_what_is_no_longer_used_ages_out() -> None:
    order: GreedyDual[str] = GreedyDual()
    order.add("once popular", size=1, cost=1)
    for _ in range(9):
        order.hit("once popular")
    gone: list[str | None] = []
    while gone[-1:] != ["once popular"]:
        order.add(f"new {len(gone)}", size=1, cost=1)
        gone.append(order.victim())
        order.evict(gone[-1] or "")

    assert len(gone) == 10, "ten uses outlast nine that came once"


def test_the_oldest_of_equals_goes_first_and_kept_ones_never() -> None:
    order: GreedyDual[str] = GreedyDual()
    for key in "abc":
        order.add(key, size=1, cost=1)

    assert order.victim() == "a"
    assert order.victim(keep={"a"}) == "b"
    assert order.victim(keep={"a", "b", "c"}) is None


def test_forgetting_leaves_the_clock() -> None:
    order: GreedyDual[str] = GreedyDual()
    order.add("a", size=1, cost=5)
    order.forget("a")

    assert order.clock == 0
    assert order.victim() is None
    with pytest.raises(KeyError):
        order.hit("a")


@given(
    st.lists(st.tuples(st.integers(0, 5), st.floats(0, 1e3), st.floats(0, 1e3), st.booleans()), min_size=1, max_size=60)
)
def test_the_clock_never_runs_back_and_every_victim_is_the_least(
    history: list[tuple[int, float, float, bool]],
) -> None:
    order: GreedyDual[int] = GreedyDual()
    present: set[int] = set()
    for key, size, cost, evict in history:
        if key in present:
            order.hit(key)
        else:
            order.add(key, size=size, cost=cost)
            present.add(key)
        assert order.priority(key) >= order.clock
        if evict:
            victim, clock = order.victim(), order.clock
            assert victim is not None
            assert order.priority(victim) == min(map(order.priority, present))
            order.evict(victim)
            present.remove(victim)
            assert order.clock >= clock
