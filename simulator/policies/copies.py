"""Container copies as a baseline deals with them: which are up by now, and one that does just what it is told."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import count
from math import inf

from scheduler.work import Action, Ladder, Run, Work
from simulator.container import SCALE_IN_S, START_S


class Copies:
    """Copies of one tier as its owner knows them: when each is up, and which are on their way out."""

    def __init__(self, initial: int) -> None:
        self.wanted = initial
        self._up_at = [-inf] * initial
        self._leaving: deque[tuple[float, float]] = deque()
        """When each is gone (s), and since when it is up."""

    def provision(self, copies: int, now: float) -> None:
        """So many are asked for: what is not gone yet is taken back first, what is not up yet goes first."""
        self.wanted = copies
        while self._leaving and self._leaving[0][0] <= now:
            self._leaving.popleft()
        while len(self._up_at) < copies and self._leaving:
            self._up_at.append(self._leaving.popleft()[1])
        self._up_at += [now + START_S] * (copies - len(self._up_at))
        self._up_at.sort()
        while len(self._up_at) > copies:
            self._leaving.append((now + SCALE_IN_S, self._up_at.pop()))

    def up(self, now: float) -> int:
        """How many take work now."""
        return sum(up_at <= now for up_at in self._up_at)


class Obedient:
    """Within a copy: runs each work alone and as it is, first come, first served, whatever becomes of its deadline.

    Whoever invokes decides on variants and batches, as the baselines do; nothing is refused here, nothing shared.
    """

    def __init__(self, cores: int, ladders: Sequence[Ladder]) -> None:
        self._threads = {
            (ladder.task, rung.variant): max(rung.service, default=1) for ladder in ladders for rung in ladder.rungs
        }
        self._free = cores
        self._queue: deque[Work] = deque()
        self._number = count(1)

    def arrive(self, work: Work, now: float) -> None:
        """Queue a work; raises ValueError for one that names no variant."""
        del now
        if work.variant is None:
            raise ValueError(f"a work of {work.task} names no variant: ask for one that may be answered late")
        self._queue.append(work)

    def act(self, now: float) -> list[Action]:
        """Begin what the free cores allow."""
        del now
        runs: list[Action] = []
        while self._queue and self._threads_of(self._queue[0]) <= self._free:
            work = self._queue.popleft()
            threads = self._threads_of(work)
            self._free -= threads
            runs.append(Run(next(self._number), work.task, work.variant or "", threads, (work,), work.rows, 0.0))
        return runs

    def finished(self, run: Run, took_s: float, now: float, *, ok: bool = True) -> None:
        """Its cores are free."""
        del took_s, now, ok
        self._free += run.threads

    def wake_at(self, now: float) -> float | None:
        """Never."""
        del now
        return None  # what a protocol's method returns

    def resident(self, task: str, variant: str, threads: int, held: bool = True) -> None:
        """What is loaded decides nothing."""
        del task, variant, threads, held

    def _threads_of(self, work: Work) -> int:
        return self._threads.get((work.task, work.variant or ""), 1)
