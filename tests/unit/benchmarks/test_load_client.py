from __future__ import annotations

import asyncio

import pytest

from benchmarks.load_client import Timer, Usage, clock, when_due

LIMIT_S = 30.0


@pytest.mark.parametrize("ahead_s", [-1.0, 0.0, 0.0005, 0.02])
async def test_a_timer_expires_at_its_time_and_not_before(ahead_s: float) -> None:
    expired = asyncio.Event()
    with Timer() as timer:
        timer.calls(expired.set)
        when = clock() + ahead_s
        timer.set(when)
        async with asyncio.timeout(LIMIT_S):
            await expired.wait()
        # A microsecond for what a float of seconds cannot hold.
        assert clock() >= when - 1e-6


async def test_a_timer_set_anew_forgets_its_last_time() -> None:
    calls: list[float] = []
    done = asyncio.Event()

    def expired() -> None:
        calls.append(clock())
        done.set()

    with Timer() as timer:
        timer.calls(expired)
        timer.set(clock() + LIMIT_S)
        when = clock() + 0.01
        timer.set(when)
        async with asyncio.timeout(LIMIT_S / 2):
            await done.wait()
    assert len(calls) == 1
    assert calls[0] >= when - 1e-6


def test_a_share_is_of_the_time_between() -> None:
    assert Usage(wall=12.0, cpu=3.5).share_since(Usage(wall=10.0, cpu=3.0)) == 0.25


async def test_each_is_called_once_in_order_and_never_before_it_is_due() -> None:
    now = clock()
    times = [now - 1.0, now, now + 2e-3, now + 2e-3, now + 4e-3]
    called: list[tuple[int, bool]] = []
    async with asyncio.timeout(10):
        await when_due(times, lambda i: called.append((i, times[i] <= clock())))
        await when_due([], lambda i: called.append((i, False)))
    assert called == [(i, True) for i in range(5)]
