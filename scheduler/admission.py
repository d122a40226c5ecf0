"""Whether a work can be done by its deadline, by what is ahead of it and how fast that could go; pure."""

from __future__ import annotations

from math import ceil, inf

from scheduler.batching import Service, turn
from scheduler.served import Served
from scheduler.work import Rung, Work

LOOK = 32
"""Works behind that are looked at: between two of them little changes."""

SHAPED = 8
"""Rows of a run from which on it is known what one row more takes, and so what still larger runs will."""


def lateness(task: Served, work: Work, rung: Rung, service: Service, *, begin: float, cores: float) -> float:
    """By how many seconds a work would be late if this variant did all that is ahead of it; below 0: in time.

    The first of the `cores` that it may have, less than 1 where other tasks want them too, is free at `begin` (s). What
    would be done with the works behind it counts, too: an accepted work is not made late by one that comes later and is
    more urgent.
    """
    most = min(rung.max_batch, ceil(task.alike * (task.queue.rows + work.rows)))
    pace = _Pace(service, most, begin, task.patience_s, cores)
    if not service.known or (pace.rows > service.reach and service.largest < SHAPED):
        # Nobody is turned away by a guess: larger runs, which are faster by the row, were not tried yet.
        alone = begin + service.median(min(work.rows, service.largest)) - work.deadline
        return alone if alone > 0 else -inf
    ahead = task.queue.ahead_of(work.deadline, work.priority)
    late = pace.done(ahead, work.rows) - work.deadline
    if ahead < task.queue.rows:
        late = max(late, _others(task, work, pace))
    return late


def _others(task: Served, work: Work, pace: _Pace) -> float:
    """By how much the works behind one would be late because of it, if they would not be without it."""
    late = -inf
    for before, other in task.queue.behind(work.deadline, work.priority, LOOK):
        if pace.done(before, other.rows) <= other.deadline:
            late = max(late, pace.done(before + work.rows, other.rows) - other.deadline)
    return late


class _Pace:
    """Runs of one size, one after the other on each core: the largest that leave time for who comes meanwhile."""

    def __init__(self, service: Service, most: int, begin: float, patience_s: float, cores: float) -> None:
        self.rows = service.efficient(service.foreseen(turn(patience_s, cores), most))
        self._service = service
        run_s = service.mean(self.rows)
        self._every_s = run_s / cores
        # Where other tasks take turns, theirs come before even the first run.
        self._begin = begin + max(0.0, self._every_s - run_s)

    def done(self, ahead: float, rows: int) -> float:
        """When a work of so many rows is done (s) with so many rows ahead of it."""
        runs, rest = divmod(ahead, self.rows)
        shared = max(rows, min(self.rows, int(rest) + rows))
        return self._begin + runs * self._every_s + self._service.median(shared)
