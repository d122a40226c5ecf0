"""What others do where a station decides: fixed settings, Model-Switching, INFaaS, and an oracle; each from its paper.

All drop works that cannot be done by their deadline any more. Clipper, under which Model-Switching was built, drops
what is late already; with that, a queue beyond capacity runs nothing but works that are just about to be late.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from math import inf

import numpy as np

from scheduler.work import Action, Expire, Refuse, Run, Work
from simulator.arrivals import Floats

PERIOD_S = 1.0
"""How often Model-Switching and INFaaS look at the load (HotCloud '20, section 4; ATC '21, section 5)."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """A variant on replicas × threads, with batches of at most so many works."""

    variant: str
    threads: int
    batch: int = 1


Curve = Callable[[str, int, int], float]
"""Median seconds of a run: variant, threads, rows."""


class Static:
    """Works first come, first served, under one setting, which a subclass may change with time."""

    def __init__(self, cores: int, setting: Fixed, curve: Curve = lambda variant, threads, rows: 0.0) -> None:
        self.setting = setting
        self._curve = curve
        self._free = cores
        self._queue: deque[Work] = deque()
        self._number = count(1)

    def arrive(self, work: Work, now: float) -> Refuse | None:
        """Nothing is ever refused."""
        self._queue.append(work)
        return None

    def cancel(self, work: Work) -> bool:
        """Nobody wants the answer any more; whether the work waited."""
        if work in self._queue:
            self._queue.remove(work)
            return True
        return False

    def withdraw(self, task: str) -> list[Work]:
        """All that waits."""
        return list(self._queue)

    def finished(self, run: Run, took_s: float, now: float, *, ok: bool = True) -> None:
        """Its cores are free."""
        self._free += run.threads

    def act(self, now: float) -> list[Action]:
        """Drop what is late, and begin what the setting allows."""
        self.control(now)
        actions: list[Action] = []
        variant, threads, batch = self.setting.variant, self.setting.threads, self.setting.batch
        while self._queue and self._queue[0].deadline < now + self._curve(variant, threads, 1):
            actions.append(Expire(self._queue.popleft()))
        while self._queue and self._free >= threads:
            works = tuple(self._queue.popleft() for _ in range(min(batch, len(self._queue))))
            self._free -= threads
            expected = self._curve(variant, threads, len(works))
            actions.append(Run(next(self._number), works[0].task, variant, threads, works, len(works), expected))
        return actions

    def wake_at(self, now: float) -> float | None:
        """When the first work expires."""
        return self._queue[0].deadline if self._queue and self._queue[0].deadline < inf else None

    def control(self, now: float) -> None:
        """Change the setting, or leave it."""


LoadTable = Sequence[tuple[float, Fixed]]
"""Load (works per second) up to which each setting is best, ascending."""


def setting_for(table: LoadTable, load: float) -> Fixed:
    """The setting of a load; that of the highest load beyond the table."""
    at = bisect_left([upto for upto, _ in table], load)
    return table[min(at, len(table) - 1)][1]


class ModelSwitching(Static):
    """Counts arrivals, and once a second takes the setting that was best at that load offline (HotCloud '20, 4.2)."""

    def __init__(self, cores: int, table: LoadTable, curve: Curve) -> None:
        super().__init__(cores, table[0][1], curve)
        self._table = table
        self._counted = 0
        self._next = PERIOD_S

    def arrive(self, work: Work, now: float) -> Refuse | None:
        """Counted."""
        self.control(now)
        self._counted += 1
        return super().arrive(work, now)

    def control(self, now: float) -> None:
        """Look at the load that was counted, once a period."""
        if now >= self._next:
            periods = int((now - self._next) / PERIOD_S) + 1
            self.setting = setting_for(self._table, self._counted / PERIOD_S if periods == 1 else 0.0)
            self._counted = 0
            self._next += periods * PERIOD_S


class Oracle(Static):
    """Model-Switching that knows how many works will come in each second, when it begins."""

    def __init__(self, cores: int, table: LoadTable, curve: Curve, times: Floats) -> None:
        super().__init__(cores, table[0][1], curve)
        self._table = table
        self._counts = np.bincount(times.astype(np.int64)).tolist() if len(times) else [0]

    def arrive(self, work: Work, now: float) -> Refuse | None:
        """Under the setting of its second."""
        self.control(now)
        return super().arrive(work, now)

    def control(self, now: float) -> None:
        """Take the setting for what is to come in this second."""
        second = int(now)
        self.setting = setting_for(self._table, self._counts[second] if second < len(self._counts) else 0)


@dataclass(slots=True)
class _State:
    """What INFaaS keeps of one running variant."""

    served: int = 0
    took_s: float = 0.0
    runs: int = 0
    overloaded: bool = False
    interfered: bool = False


class Infaas(Static):
    """INFaaS's selection (ATC '21, sections 4 and 5): per request among Active variants, states set once a second.

    Of the variants that are neither Overloaded (arrivals at or above the profiled peak) nor Interfered (mean latency
    over 2.5 times the profile at more than half of the peak) and whose profile keeps the latency bound, the most
    accurate one, as no least accuracy is asked for; where none is left, the one with the lowest profiled latency.
    Batches up to what the bound allows; every variant has the whole machine as replicas of one thread.
    """

    INTERFERED, BUSY = 2.5, 0.5

    def __init__(
        self, cores: int, accuracy: Mapping[str, float], curve: Curve, deadline_s: float, batches: Sequence[int]
    ) -> None:
        self._cores = cores
        self._all = sorted(accuracy, key=lambda variant: -accuracy[variant])
        super().__init__(cores, Fixed(self._all[0], 1), curve)
        self._batch = {
            variant: max((b for b in batches if curve(variant, 1, b) <= deadline_s), default=0) for variant in self._all
        }
        self._fast = min(self._all, key=lambda variant: curve(variant, 1, 1))
        self._states = {variant: _State() for variant in self._all}
        self._queues: dict[str, deque[Work]] = {variant: deque() for variant in self._all}
        self._next = PERIOD_S

    def arrive(self, work: Work, now: float) -> Refuse | None:
        """Queued for the variant that is selected now."""
        self.control(now)
        variant = self._selected()
        self._states[variant].served += 1
        self._queues[variant].append(work)
        return None

    def finished(self, run: Run, took_s: float, now: float, *, ok: bool = True) -> None:
        """Its latency counts."""
        super().finished(run, took_s, now, ok=ok)
        state = self._states[run.variant]
        state.runs += 1
        state.took_s += (now - run.works[0].arrived) / max(self._curve(run.variant, 1, run.rows), 1e-9)

    def act(self, now: float) -> list[Action]:
        """The queues in turn, the one whose first work is oldest first."""
        self.control(now)
        actions: list[Action] = []
        for variant, queue in self._queues.items():
            while queue and queue[0].deadline < now + self._curve(variant, 1, 1):
                actions.append(Expire(queue.popleft()))
        while self._free and any(self._queues.values()):
            variant = min((v for v in self._all if self._queues[v]), key=lambda v: self._queues[v][0].arrived)
            queue = self._queues[variant]
            works = tuple(queue.popleft() for _ in range(min(max(1, self._batch[variant]), len(queue))))
            self._free -= 1
            expected = self._curve(variant, 1, len(works))
            actions.append(Run(next(self._number), works[0].task, variant, 1, works, len(works), expected))
        return actions

    def wake_at(self, now: float) -> float | None:
        """When the first work expires."""
        firsts = [queue[0].deadline for queue in self._queues.values() if queue]
        return min(firsts, default=None)

    def control(self, now: float) -> None:
        """Set the states from the last second."""
        if now < self._next:
            return
        self._next += (int((now - self._next) / PERIOD_S) + 1) * PERIOD_S
        for variant, state in self._states.items():
            peak = self._peak(variant)
            state.overloaded = state.served / PERIOD_S >= peak
            slow = state.runs > 0 and state.took_s / state.runs > self.INTERFERED
            state.interfered = slow and state.served / PERIOD_S > self.BUSY * peak
            state.served, state.took_s, state.runs = 0, 0.0, 0

    def _peak(self, variant: str) -> float:
        batch = max(1, self._batch[variant])
        return self._cores * batch / max(self._curve(variant, 1, batch), 1e-9)

    def _selected(self) -> str:
        for variant in self._all:
            state = self._states[variant]
            if self._batch[variant] and not state.overloaded and not state.interfered:
                return variant
        return self._fast
