"""Counts what is asked for by task and minute, until it is written down; on a request's path, so it only counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from registry.activity import Usage
from scheduler.requests import Request


class Arrivals:
    """What was asked for since it was last taken. All methods are for one thread."""

    def __init__(self, *, wall: Callable[[], float] = time.time) -> None:
        """`wall` tells the seconds since the epoch."""
        self._wall = wall
        self._counted: dict[int, dict[str, Usage]] = {}

    def note(self, request: Request) -> None:
        """A request came in, whatever comes of it."""
        usages = self._counted.setdefault(minute_of(self._wall()), {})
        one = Usage(request.task, 1, request.rows, request.slo)
        known = usages.get(request.task)
        usages[request.task] = one if known is None else known.plus(one)

    def take(self) -> Mapping[int, tuple[Usage, ...]]:
        """Usages by minute, which are counted here no more."""
        taken, self._counted = self._counted, {}
        return {minute: tuple(usages.values()) for minute, usages in taken.items()}

    def give_back(self, taken: Mapping[int, tuple[Usage, ...]]) -> None:
        """What was taken could not be written down: count it again."""
        for minute, usages in taken.items():
            counted = self._counted.setdefault(minute, {})
            for usage in usages:
                counted[usage.task] = usage.plus(counted[usage.task]) if usage.task in counted else usage


def minute_of(at: float) -> int:
    """The minute since the epoch of a time (s)."""
    return int(at // 60)
