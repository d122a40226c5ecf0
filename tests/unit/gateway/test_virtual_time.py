"""Hours pass at once, in order, and threads may still answer."""

from __future__ import annotations

import asyncio
import time

import pytest

from gateway.virtual_time import run_virtually


def test_sleeps_take_no_real_time_and_wake_in_order():
    async def main():
        woken = []

        async def sleeper(seconds):
            await asyncio.sleep(seconds)
            woken.append((seconds, asyncio.get_running_loop().time()))

        await asyncio.gather(*(sleeper(s) for s in (7200, 1, 60)))
        return woken

    started = time.perf_counter()
    assert run_virtually(main()) == [(s, pytest.approx(s)) for s in (1, 60, 7200)]
    assert time.perf_counter() - started < 5


def test_timeouts_are_virtual():
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.Event().wait()

    run_virtually(main())


def test_a_thread_can_wake_the_loop():
    async def main():
        return await asyncio.to_thread(lambda: 5)

    assert run_virtually(main()) == 5
