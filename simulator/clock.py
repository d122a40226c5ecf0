"""A virtual clock and what is to happen at which time of it; it never waits, and never swallows a failure."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from math import inf

START, END, ARRIVAL, TICK = range(4)
"""Priorities of what happens at one time: what is there and what became free first, then who wants it."""


class Clock:
    """Events in the order of their time (s), then priority, then of having been asked for."""

    __slots__ = ("_heap", "_serial", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, int, Callable[[], None]]] = []
        self._serial = count()

    def at(self, time: float, priority: int, callback: Callable[[], None]) -> None:
        """Call back at a time; raises ValueError for one that has passed or that is none."""
        if not time >= self.now:
            raise ValueError(f"nothing can happen at {time} s: it is {self.now} s")
        heappush(self._heap, (time, priority, next(self._serial), callback))

    def run(self, until: float = inf) -> None:
        """Let everything happen up to a time, and what it gives rise to; the clock advances before each callback."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            event = heappop(heap)
            self.now = event[0]
            event[3]()
