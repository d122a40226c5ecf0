"""A coroutine is waited for from a script and from inside a running loop alike."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest

from modelless.waiting import wait


async def where() -> tuple[str, int]:
    await asyncio.sleep(0)
    return threading.current_thread().name, 42


async def failing() -> None:
    raise LookupError("nothing")


def test_without_a_loop_it_runs_here() -> None:
    assert wait(where()) == (threading.current_thread().name, 42)
    with pytest.raises(LookupError, match="nothing"):
        wait(failing())


async def test_within_a_loop_it_runs_on_a_thread_of_its_own() -> None:
    assert wait(where()) == ("modelless-register", 42)
    with pytest.raises(LookupError, match="nothing"):
        wait(failing())


async def test_an_interrupt_cancels_the_work_and_waits_for_its_end() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            ended.append("cleaned up")

    # asyncio's own loop would take the signal for itself; a notebook's kernel does not.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            wait(work())
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended == ["cleaned up"]
