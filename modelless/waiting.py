"""Coroutines for callers that wait: in this thread, or in another one where this thread runs a loop already."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


def wait(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns or raises, however this thread was entered: from a script, a notebook or a server.

    An interrupt cancels the work, waits until it has cleaned up, and is raised.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    return _wait_elsewhere(work)


def _wait_elsewhere(work: Coroutine[Any, Any, T]) -> T:
    """As `wait`, on a loop of another thread, for a running loop cannot be entered again (as in Jupyter)."""
    began: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[T]]] = Future()
    ended: Future[T] = Future()

    async def main() -> T:
        task = asyncio.ensure_future(work)
        began.set_result((asyncio.get_running_loop(), task))
        return await task

    def run() -> None:
        try:
            ended.set_result(asyncio.run(main()))
        except BaseException as fault:  # noqa: BLE001 - a thread's outermost frame; raised again by whoever waits
            ended.set_exception(fault)

    thread = threading.Thread(target=run, name="modelless-register")
    try:
        thread.start()
        return ended.result()
    except KeyboardInterrupt:
        if thread.ident is not None:  # it has begun, whichever line this one was interrupted at
            loop, task = began.result()
            loop.call_soon_threadsafe(task.cancel)
        raise
    finally:
        if thread.ident is not None:
            thread.join()
