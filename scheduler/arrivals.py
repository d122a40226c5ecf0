"""How fast works arrive: the rate of the newest ones; it forgets at the pace at which they come."""

from __future__ import annotations

from collections import deque

NEWEST = 32
"""Arrivals that tell the rate: its standard error is then 18 % (1/√32), and a burst shows after some ten of them."""


class Arrivals:
    """The rate of one task's arrivals, in rows per second."""

    __slots__ = ("_rows", "_stamps")

    def __init__(self) -> None:
        self._stamps: deque[tuple[float, int]] = deque(maxlen=NEWEST + 1)
        self._rows = 0

    def note(self, now: float, rows: int = 1) -> None:
        """Some rows arrived at `now` (s)."""
        if len(self._stamps) > NEWEST:
            self._rows -= self._stamps[0][1]
        self._stamps.append((now, rows))
        self._rows += rows

    def rate(self, now: float) -> float:
        """Rows per second at `now`; 0 before the second arrival. A silence counts as soon as it is unusually long."""
        if len(self._stamps) < 2:
            return 0.0
        first, rows = self._stamps[0]
        since = now - first
        return (self._rows - rows) / since if since > 0 else 0.0
