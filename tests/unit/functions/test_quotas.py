"""Quotas over several environments on a virtual clock: the bound on what they let through, cost, and faults."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.aws.quotas import SETTLE_EVERY, WINDOW_S, SharedQuota, any_shard
from gateway.auth import Principal
from gateway.errors import QuotaExceeded
from registry.errors import Unavailable

ACME, GLOBEX = Principal("a", "acme"), Principal("g", "globex")


class Time:
    """A clock that all environments share, and threads whose work is done so long after it was given to them."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.now = 1000.0
        self._takes_s = takes_s
        self._due: list[tuple[float, Callable[[], None]]] = []

    def __call__(self) -> float:
        return self.now

    def to(self, now: float) -> None:
        for at, work in [due for due in self._due if due[0] <= now]:
            self._due.remove((at, work))
            work()
        self.now = now

    def thread(self) -> Executor:
        time = self

        class Later(Executor):
            def submit(self, work: Any, /, *arguments: Any, **_: Any) -> Future[Any]:
                future: Future[Any] = Future()

                def done() -> None:
                    try:
                        future.set_result(work(*arguments))
                    except Unavailable as fault:
                        future.set_exception(fault)

                if time._takes_s:
                    time._due.append((time.now + time._takes_s, done))
                else:
                    done()
                return future

        return Later()


class Table:
    """Counters as the table keeps them."""

    def __init__(self) -> None:
        self.spent: Counter[tuple[str, int]] = Counter()
        self.writes = 0
        self.down = False

    def spend(self, tenant: str, window: int, window_s: float, count: int) -> int:
        self.writes += 1
        if self.down:
            raise Unavailable("table", "it is down")
        self.spent[tenant, window] += count
        return self.spent[tenant, window]


def passes(quota: SharedQuota, principal: Principal = ACME) -> bool:
    try:
        quota.take(principal)
    except QuotaExceeded:
        return False
    return True


def environments(count: int, per_s: float, table: Table, time: Time, **options: Any) -> list[SharedQuota]:
    return [SharedQuota(per_s, table, clock=time, wall=time, thread=time.thread(), **options) for _ in range(count)]


@given(
    count=st.integers(1, 12),
    per_s=st.integers(1, 60),
    takes_s=st.sampled_from([0.0, 0.004]),
    order=st.lists(st.integers(0, 11), min_size=1, max_size=300),
)
def test_a_window_lets_through_its_share_and_a_bounded_overshoot(
    count: int, per_s: int, takes_s: float, order: list[int]
) -> None:
    table, time = Table(), Time(takes_s)
    several = environments(count, per_s, table, time)
    passed: Counter[int] = Counter()
    for step in range(4 * len(order)):
        time.to(1000.0 + step * 0.01)
        passed[int(time.now // WINDOW_S)] += passes(several[order[step % len(order)] % count])

    assert max(passed.values()) <= per_s * WINDOW_S + 2 * SETTLE_EVERY * count


def test_environments_that_are_all_asked_stop_close_to_the_quota_and_go_on_in_the_next_window() -> None:
    table, time = Table(), Time(0.004)
    several = environments(10, 50, table, time)
    passed: Counter[int] = Counter()
    for step in range(2000):
        time.to(1000.0 + step * 0.01)
        passed[int(time.now // WINDOW_S)] += sum(passes(one) for one in several)  # 1,000 requests a second

    assert set(passed) == {100, 101}
    for count in passed.values():
        assert 500 <= count <= 500 + 2 * SETTLE_EVERY * 10
    assert table.writes <= sum(passed.values()) / SETTLE_EVERY


def test_one_environment_alone_is_held_to_the_rate_without_the_table() -> None:
    table, time = Table(), Time()
    table.down = True
    failures: list[int] = []
    (one,) = environments(1, 20, table, time, failed=lambda: failures.append(1))
    passed = 0
    for step in range(900):
        time.to(1000.0 + step * 0.01)
        passed += passes(one)

    assert 20 * 9 - 1 <= passed <= 20 * 9 + 20
    assert failures


def test_a_table_that_never_answers_blocks_nobody() -> None:
    time = Time(takes_s=1e9)
    (one,) = environments(1, 1000, Table(), time)

    assert all(passes(one) for _ in range(1000))


def test_tenants_do_not_pay_for_one_another() -> None:
    table, time = Table(), Time()
    one, other = environments(2, 2, table, time)
    for step in range(200):
        time.to(1000.0 + step * 0.01)
        passes(one)

    assert passes(other, GLOBEX)


def test_a_refusal_says_when_to_come_back() -> None:
    table, time = Table(), Time()
    table.spent["acme", 100] = 10_000
    (one,) = environments(1, 100, table, time)
    time.to(1004.0)
    for _ in range(SETTLE_EVERY):
        one.take(ACME)
    with pytest.raises(QuotaExceeded) as refused:
        one.take(ACME)

    assert refused.value.details["retry_after_s"] == pytest.approx(6.0)
    time.to(1010.0)
    one.take(ACME)


def test_without_a_quota_nothing_is_written() -> None:
    table = Table()
    (one,) = environments(1, math.inf, table, Time())

    assert all(passes(one) for _ in range(100))
    assert table.writes == 0


def test_shards_are_spread() -> None:
    assert len({any_shard() for _ in range(200)}) > 1
