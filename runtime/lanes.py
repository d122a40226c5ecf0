"""Threads that take jobs in order and hand what comes of them back to an event loop; knows nothing of the jobs."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")

Job = Callable[[], T]


class Lanes:
    """Some daemon threads; an executor's futures, locks and work items would cost a short run more than it takes."""

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop, name: str) -> None:
        self._loop = loop
        self._jobs: SimpleQueue[tuple[Job[object], Callable[[object], None]] | None] = SimpleQueue()
        self._ended: deque[tuple[Callable[[object], None], object]] = deque()
        self._threads = [threading.Thread(target=self._work, name=f"{name}-{i}", daemon=True) for i in range(count)]
        for thread in self._threads:
            thread.start()

    def put(self, job: Job[T], ended: Callable[[T], None]) -> None:
        """Have a thread do the job, and the loop call `ended` with what it returns; a job must not raise."""
        self._jobs.put((job, ended))  # type: ignore[arg-type]

    def close(self) -> None:
        """Take no more jobs; the threads end after those that were put, and this waits for them."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, ended = item
            self._ended.append((ended, job()))
            try:
                self._loop.call_soon_threadsafe(self._tell)
            except RuntimeError:
                return  # The loop was closed meanwhile; nobody waits any more.

    def _tell(self) -> None:
        # What ends meanwhile has its own call: between them, the loop sees to everybody else.
        for _ in range(len(self._ended)):
            ended, result = self._ended.popleft()
            ended(result)
