"""Lanes: jobs run off the loop, in order, and what they return comes back to it."""

from __future__ import annotations

import asyncio
import threading
import time

from runtime.lanes import Lanes


async def test_jobs_run_on_threads_and_end_on_the_loop() -> None:
    lanes = Lanes(1, asyncio.get_running_loop(), "lane")
    ended: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()

    lanes.put(lambda: threading.current_thread().name, lambda name: ended.set_result((name, threading.get_ident())))

    async with asyncio.timeout(10):
        assert await ended == ("lane-0", threading.get_ident())
    lanes.close()


async def test_one_lane_keeps_the_order() -> None:
    lanes = Lanes(1, asyncio.get_running_loop(), "lane")
    results: list[int] = []
    done = asyncio.Event()
    for i in range(20):
        lanes.put(lambda i=i: i, results.append)  # type: ignore[misc]
    lanes.put(lambda: None, lambda _: done.set())
    async with asyncio.timeout(10):
        await done.wait()
    assert results == list(range(20))
    lanes.close()


async def test_lanes_work_at_the_same_time() -> None:
    lanes = Lanes(2, asyncio.get_running_loop(), "lane")
    meeting = threading.Barrier(2, timeout=10)
    done = asyncio.Semaphore(0)
    for _ in range(2):
        lanes.put(meeting.wait, lambda _: done.release())
    async with asyncio.timeout(10):
        await done.acquire()
        await done.acquire()
    lanes.close()


async def test_what_ends_meanwhile_lets_the_loop_see_to_others_first() -> None:
    loop = asyncio.get_running_loop()
    lanes = Lanes(1, loop, "lane")
    order: list[str] = []
    done = asyncio.Event()

    def first(_: None) -> None:
        loop.call_soon(order.append, "others")
        lanes.put(lambda: None, second)
        until = time.monotonic() + 10
        while not lanes._ended and time.monotonic() < until:
            pass

    def second(_: None) -> None:
        order.append("second")
        done.set()

    lanes.put(lambda: None, first)
    async with asyncio.timeout(10):
        await done.wait()
    assert order == ["others", "second"]
    lanes.close()


def test_a_loop_that_is_gone_ends_the_threads() -> None:
    loop = asyncio.new_event_loop()
    lanes = Lanes(1, loop, "lane")
    loop.close()
    lanes.put(lambda: 1, print)
    lanes.close()
