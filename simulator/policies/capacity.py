"""Our scheduler with its capacity planned every minute, from what was asked before; how is not decided here.

`scheduler.recurrence` says how probably each task is asked for next, `scheduler.capacity` what to have warm for that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from registry.catalogue import Catalogue
from scheduler import actions
from scheduler.capacity import WORTH_USD, Demand, plan
from scheduler.fleet import Fleet
from scheduler.newcomers import Newcomers
from scheduler.recurrence import Recurrence
from scheduler.requests import Request
from simulator.policies.modelless import PERIOD_S, Modelless
from simulator.policy import Action, Job

LATELY = 10
"""Minutes with requests that a task's rate is the mean of: steady enough, and soon another."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent on keeping warm, and for what."""

    usd_per_h: float
    worth_usd: float = WORTH_USD
    """What a right answer in time is worth."""


class Planner:
    """See `simulator.policies.modelless.Capacity`; it has to be told every job."""

    def __init__(self, budget: Budget, period_s: float = PERIOD_S) -> None:
        self._budget, self._period_s = budget, period_s
        self._recurrence = Recurrence()
        self._newcomers = Newcomers()
        self._counts: dict[str, int] = {}
        """Requests of the minute that is not over, by task."""
        self._lately: dict[str, deque[int]] = {}
        """Requests of each of the last minutes that had any."""
        self._typical: dict[str, Request] = {}
        """The last request of each task."""

    def arrived(self, job: Job) -> None:
        """A request came, whatever comes of it."""
        request = job.request
        self._counts[request.task] = self._counts.get(request.task, 0) + 1
        self._typical[request.task] = request

    def __call__(self, catalogue: Catalogue, fleet: Fleet, now: float) -> Iterable[actions.Action]:
        """What to keep warm until the next call, a period after the last."""
        minute = round(now / self._period_s)
        if minute > 0:
            self._close(minute - 1, len(catalogue.tasks))
        made = plan(
            catalogue,
            fleet,
            self._demands(catalogue),
            now,
            period_s=self._period_s,
            budget_usd_per_h=self._budget.usd_per_h,
            worth_usd=self._budget.worth_usd,
        )
        return made.actions

    def _close(self, minute: int, tasks: int) -> None:
        self._recurrence.close(minute, self._counts)
        new = sum(task not in self._lately for task in self._counts)
        self._newcomers.close(tasks - len(self._lately), new)
        for task, count in self._counts.items():
            self._lately.setdefault(task, deque(maxlen=LATELY)).append(count)
        self._counts = {}

    def _demands(self, catalogue: Catalogue) -> list[Demand]:
        """What to expect of every task, also of those that were never asked for."""
        ahead = self._newcomers.ahead()
        waiting = [task for task in catalogue.tasks.values() if task.name not in self._lately]
        return [
            *(self._demand(task) for task in self._lately),
            *(Demand(t.name, ahead, 1 / self._period_s, Request(t.name, t.default_slo)) for t in waiting),
        ]

    def _demand(self, task: str) -> Demand:
        lately = self._lately[task]
        rate = sum(lately) / len(lately) / self._period_s
        return Demand(task, self._recurrence.ahead(task), rate, self._typical[task])


class Prewarming(Modelless):
    """Modelless, and what its planner wants kept warm."""

    def __init__(self, catalogue: Catalogue, budget: Budget, period_s: float = PERIOD_S) -> None:
        self._planner = Planner(budget, period_s)
        super().__init__(catalogue, capacity=self._planner, period_s=period_s)

    def arrive(self, job: Job, now: float) -> Iterable[Action]:
        """See Policy."""
        self._planner.arrived(job)
        return super().arrive(job, now)
