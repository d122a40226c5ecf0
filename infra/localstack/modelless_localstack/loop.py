"""The one event loop in which environments live, for callers that are threads; it ends with the process, not before."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """A loop on a thread of its own.

    Environments ask the kernel to be ended when the thread that started them ends, so there is none that outlives it.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="environments", daemon=True).start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns or raises; blocks the calling thread meanwhile."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


@functools.cache
def loop_thread() -> LoopThread:
    """The process's own."""
    return LoopThread()
