"""Whether a work can be done by its deadline, by what is ahead of it and how fast that could go; pure."""

from __future__ import annotations

from math import ceil, inf

from scheduler.arrivals import Arrivals
from scheduler.batching import Service
from scheduler.queue import Queue
from scheduler.work import Rung, Work

LOOK = 32
"""Works behind that are looked at: between two of them little changes."""

SHAPED = 8
"""Rows of a run from which on it is known what one row more takes, and so what still larger runs will."""

ALL = 0.99
"""The share of the works that can share a run with the first of them from which on it is all of them."""


class Pace:
    """Runs of one variant, one after the other on each core: the largest that leave time for who comes meanwhile.

    It stands until a run begins or ends, or what is offered, loaded or wanted changes.
    """

    __slots__ = (
        "_arrivals",
        "_cores",
        "_every_s",
        "_full_s",
        "_limit",
        "_max_batch",
        "_patience_s",
        "_queue",
        "_rows",
        "_service",
        "_start_s",
    )

    def __init__(
        self, rung: Rung, service: Service, queue: Queue, arrivals: Arrivals, *, patience_s: float, cores: float
    ) -> None:
        """`cores` runs go on at once, less than 1 where other tasks want the cores, too."""
        self._max_batch = rung.max_batch
        self._service = service
        self._queue = queue
        self._arrivals = arrivals
        self._cores = cores
        self._patience_s = patience_s
        self._limit = 0  # until it is asked

    def sure(self, left_s: float) -> int:
        """Rows that may be ahead of a work that is in time for sure if it has `left_s` from when a core is free on."""
        if not self._service.known or self._service.largest < SHAPED:
            return 0
        if not self._limit:
            self._resize(self._max_batch)
        runs = (left_s - self._start_s - self._full_s) // self._every_s
        return int(max(0.0, runs + 1) * self._rows)

    def alone(self, work: Work, now: float, margin_s: float = 0.0) -> float:
        """By how many seconds a work would be late that begins at once; infinite where nothing is known."""
        return now + self._service.tail(work.rows) + margin_s - work.deadline if self._service.known else inf

    def lateness(self, work: Work, now: float, *, begin: float, alike: float = 1.0, margin_s: float = 0.0) -> float:
        """By how many seconds a work would be late if this variant did all that is ahead of it; below 0: in time.

        The first core is free at `begin` (s), runs are of this share of what waits, and the work must have `margin_s`
        left over. What would be done with the works behind it counts, too: an accepted work is not made late by one
        that comes later and is more urgent.
        """
        queue, service, limit = self._queue, self._service, self._max_batch
        if alike < ALL:
            limit = min(limit, ceil(alike * (queue.rows + work.rows)))
        if limit != self._limit:
            self._resize(limit)
        if service.largest < SHAPED and (not service.known or min(self._rows, queue.rows + work.rows) > service.reach):
            # Nobody is turned away by a guess: larger runs, which are faster by the row, were not tried yet.
            alone = begin + service.median(min(work.rows, service.largest)) - work.deadline
            return alone if alone > 0 else -inf
        begin += self._start_s
        ahead = queue.ahead_of(work.deadline, work.priority)
        by = work.deadline - margin_s
        late = begin + ahead // self._rows * self._every_s + self._full_s - by
        if late > 0 or work.rows > 1:  # not sure without a closer look
            late = self._done(ahead, work.rows, begin, self._arrivals.rate(now), now) - by
        return late if ahead == queue.rows else max(late, self._others(work, begin))

    def _resize(self, limit: int) -> None:
        """Runs have so many rows at most."""
        self._limit, service = limit, self._service
        self._rows = service.efficient(service.foreseen(service.turn(self._patience_s, self._cores), limit))
        run_s = service.mean(self._rows)
        self._every_s, self._full_s = run_s / self._cores, service.tail(self._rows)
        # Where other tasks take turns, theirs come before even the first run.
        self._start_s = max(0.0, self._every_s - run_s)

    def _done(self, ahead: float, rows: int, begin: float, rate: float = 0.0, now: float = 0.0) -> float:
        """When (s) a work of so many rows is done, with so many rows ahead of it.

        Who comes at this rate until its run begins shares that run, which takes the longer.
        """
        runs, rest = divmod(ahead, self._rows)
        start = begin + runs * self._every_s
        coming = rate * (start - now) if start > now else 0.0
        shared = max(rows, int(min(self._rows, rest + coming + rows)))
        return start + self._service.tail(shared)

    def _others(self, work: Work, begin: float) -> float:
        """By how much the works behind one would be late because of it, if they would not be without it."""
        late = -inf
        for before, other in self._queue.behind(work.deadline, work.priority, LOOK):
            if self._done(before, other.rows, begin) <= other.deadline:
                late = max(late, self._done(before + work.rows, other.rows, begin) - other.deadline)
        return late
