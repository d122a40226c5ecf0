"""Whether a work can be done by its deadline, by what is ahead of it and how fast that could go; pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from scheduler.batching import Service
from scheduler.served import Served
from scheduler.work import Rung, Work


def lateness(task: Served, work: Work, rung: Rung, service: Service, free_at: Sequence[float]) -> float:
    """By how many seconds a work would be late if its quickest variant did all that is ahead of it; below 0: in time.

    `free_at` is when each core that it may have is free. What would be done with the works behind it counts, too: an
    accepted work is not made late by one that comes later and is more urgent.
    """
    pace = _Pace.of(service, rung, task.patience_s, len(free_at))
    if pace.rows > service.reach:
        return -inf  # nobody is turned away by a guess: larger runs, which are faster by the row, were not tried yet
    ahead = task.queue.ahead_of(work.deadline, work.priority)
    late = pace.done(free_at[0], ahead, work.rows) - work.deadline
    if ahead < task.queue.rows:
        late = max(late, _others(task, work, pace, free_at[0], ahead))
    return late


def _others(task: Served, work: Work, pace: _Pace, begin: float, ahead: int) -> float:
    """By how much the works behind one would be late because of it, if they would not be without it."""
    late, before = -inf, 0
    for other in task.queue:
        if before >= ahead and pace.done(begin, before, other.rows) <= other.deadline:
            late = max(late, pace.done(begin, before + work.rows, other.rows) - other.deadline)
        before += other.rows
    return late


class _Pace:
    """Runs of one size, one after the other on each core."""

    def __init__(self, rows: int, service: Service, cores: int) -> None:
        self.rows = rows
        self._service = service
        self._run_s = service.median(rows) / cores

    @classmethod
    def of(cls, service: Service, rung: Rung, patience_s: float, cores: int) -> _Pace:
        """The largest runs that leave time for who comes meanwhile."""
        return cls(service.foreseen(patience_s * cores / (cores + 1), rung.max_batch), service, cores)

    def done(self, begin: float, ahead: int, rows: int) -> float:
        """When a work of so many rows is done (s) with so many rows ahead of it."""
        runs, rest = divmod(ahead, self.rows)
        return begin + runs * self._run_s + self._service.tail(min(self.rows, rest + rows))
