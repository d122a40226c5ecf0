from __future__ import annotations

import math
from dataclasses import replace

import pytest

from scheduler.environments import Environment, State
from scheduler.tier_state import TierState, Waiting


def idle(used_at: float, *resident: str, slots: int = 1) -> Environment:
    return Environment(State.IDLE, slots, 0, resident, used_at)


def busy(running: int = 1, slots: int = 1, *resident: str) -> Environment:
    return Environment(State.BUSY, slots, running, resident, 0.0)


def state(*environments: Environment, waiting: int = 0, capacity: int = 2, slots: int = 1) -> TierState:
    return TierState(
        capacity,
        slots,
        idle_timeout_s=100.0,
        environments={f"e{i}": e for i, e in enumerate(environments)},
        outstanding={("p", str(i)): Waiting(12.0, 36.0) for i in range(waiting)},
    )


def test_counts() -> None:
    found = state(idle(1.0), busy(), Environment(State.STARTING), waiting=2)
    assert (found.idle, found.busy, found.starting, found.running, found.live) == (1, 1, 1, 1, 2)
    assert found.backlog_ms == 24.0


def test_free_until_is_the_freshest_expiry() -> None:
    assert state().free_until == -math.inf
    assert state(idle(5.0), idle(7.0)).free_until == 107.0
    assert state(busy()).free_until == -math.inf


def test_requests_ahead_take_the_freshest_environments() -> None:
    assert state(idle(5.0), idle(7.0), waiting=1).free_until == 105.0
    assert state(idle(5.0), idle(7.0), waiting=2).free_until == -math.inf
    assert state(idle(5.0), busy(), waiting=1).free_until == 105.0  # the one request runs already
    assert state(idle(5.0), Environment(State.STARTING), waiting=1).free_until == 105.0  # one starts for it


def test_full_counts_runs_starts_and_requests() -> None:
    assert not state(busy()).full
    assert state(busy(), Environment(State.STARTING)).full
    assert state(waiting=2).full
    assert not state(idle(0.0), idle(0.0)).full


def test_starved_is_full_with_nothing_free() -> None:
    assert state(busy(), busy()).starved
    assert not state(busy()).starved
    assert not state(idle(5.0), idle(7.0), idle(9.0), waiting=2).starved
    assert state(idle(5.0), idle(7.0), waiting=2).starved


def test_a_shared_environment_has_slots() -> None:
    shared = state(busy(1, 2, "t/a"), slots=2)
    assert shared.free_until == math.inf
    assert not shared.full
    assert state(busy(2, 2), slots=2).full
    assert state(Environment(State.STARTING, 2), slots=2).full


def test_residency() -> None:
    found = state(idle(5.0, "t/a"), idle(9.0, "t/b"), busy(1, 1, "t/a"))
    assert found.free_with() == {"t/a": 105.0, "t/b": 109.0}
    assert (found.holders("t/a"), found.holders("t/b")) == (2, 1)


def test_the_wait_for_the_first_of_two_slots() -> None:
    """m = 12, c = 2, nobody queued: mean 12 / 3, variance 2 × 144 / (9 × 4)."""
    assert state(busy(), busy(), waiting=2).wait == pytest.approx((4.0, 8.0))


def test_each_request_ahead_adds_a_departure() -> None:
    """Three more requests: 3 × 12 / 2 on top of 4, and 3 × 36 / 4 on top of 8."""
    assert state(busy(), busy(), waiting=5).wait == pytest.approx((22.0, 35.0))


def test_nothing_known_is_no_wait() -> None:
    assert state(busy(), busy()).wait == (0.0, 0.0)


def test_where_requests_share_runs_those_that_wait_hold_up_less() -> None:
    alone = state(busy(), busy(), waiting=6)
    shared = replace(alone, outstanding={t: replace(w, shared=0.25) for t, w in alone.outstanding.items()})
    # Four of them wait, each for the 12 ms of a run alone, or for a quarter of that in a run with others.
    assert alone.wait == pytest.approx((4.0 + 4 * 6.0, 8.0 + 4 * 9.0))
    assert shared.wait == pytest.approx((4.0 + 4 * 1.5, 8.0 + 4 * 9.0 / 16))
