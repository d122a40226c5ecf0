"""Token buckets: a tenant's rate holds over any span, what it did not use it may send at once, and no other pays."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth import Principal
from gateway.errors import QuotaExceeded
from gateway.quotas import Buckets

ACME, GLOBEX = Principal("a", "acme"), Principal("g", "globex")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def admitted(buckets: Buckets, principal: Principal, times: int) -> int:
    """How many of so many requests at once are let through."""
    passed = 0
    for _ in range(times):
        try:
            buckets.take(principal)
            passed += 1
        except QuotaExceeded:
            pass
    return passed


def test_a_second_of_the_rate_at_once_and_then_the_rate() -> None:
    clock = Clock()
    buckets = Buckets(10, clock=clock)

    assert admitted(buckets, ACME, 50) == 10
    clock.now = 0.5
    assert admitted(buckets, ACME, 50) == 5
    clock.now = 60
    assert admitted(buckets, ACME, 50) == 10


def test_one_tenants_requests_are_not_anothers() -> None:
    buckets = Buckets(3, {"globex": 5}, clock=Clock())

    assert admitted(buckets, ACME, 9) == 3
    assert admitted(buckets, Principal("another key", "acme"), 9) == 0
    assert admitted(buckets, GLOBEX, 9) == 5


def test_a_refusal_says_when_the_next_may_come_and_that_holds() -> None:
    clock = Clock()
    buckets = Buckets(0.25, clock=clock)
    buckets.take(ACME)
    with pytest.raises(QuotaExceeded) as refused:
        buckets.take(ACME)

    assert refused.value.status == 429
    assert refused.value.code == "quota_exceeded"
    assert refused.value.details == {"retry_after_s": 4.0, "requests_per_second": 0.25}
    clock.now = refused.value.details["retry_after_s"]
    buckets.take(ACME)


def test_without_a_rate_nothing_is_counted() -> None:
    buckets = Buckets(math.inf, clock=Clock())

    assert admitted(buckets, ACME, 1000) == 1000
    assert buckets.held == 0


def test_a_clock_that_goes_back_brings_nothing() -> None:
    clock = Clock()
    clock.now = 100.0
    buckets = Buckets(2, clock=clock)
    admitted(buckets, ACME, 2)
    clock.now = 0.0
    assert admitted(buckets, ACME, 5) == 0
    clock.now = 100.0
    assert admitted(buckets, ACME, 5) == 0


def test_tenants_without_end_take_no_memory_without_end() -> None:
    clock = Clock()
    buckets = Buckets(2, clock=clock, most=100)
    for i in range(1000):
        clock.now += 0.001
        buckets.take(Principal("k", f"tenant-{i}"))

    assert buckets.held <= 100
    assert admitted(buckets, Principal("k", "tenant-999"), 5) == 1  # the last ones are remembered


@given(
    rate=st.floats(0.1, 50),
    steps=st.lists(st.tuples(st.floats(0, 3), st.integers(1, 30)), min_size=1, max_size=40),
)
def test_no_span_has_more_than_its_rate_and_one_burst(rate: float, steps: list[tuple[float, int]]) -> None:
    clock = Clock()
    buckets = Buckets(rate, clock=clock)
    passed = 0
    for wait, times in steps:
        clock.now += wait
        passed += admitted(buckets, ACME, times)

    assert passed <= rate * clock.now + max(1.0, rate) + 1e-6
