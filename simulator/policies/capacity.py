"""Our scheduler with its capacity planned every minute, from what was asked before; how is not decided here.

`scheduler.history` says how each task is asked for next, `scheduler.capacity` what to have warm for that, as on the
platform, where `gateway.capacity` does the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from registry.activity import Minute, Usage
from registry.catalogue import Catalogue
from scheduler import actions
from scheduler.capacity import WORTH_USD, plan
from scheduler.fleet import Fleet
from scheduler.history import History
from simulator.policies.modelless import PERIOD_S, Modelless
from simulator.policy import Action, Job

MINUTE_S = 60.0


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
        self._history = History()
        self._usages: dict[int, dict[str, Usage]] = {}
        """Of the minutes that are not closed, by task."""

    def arrived(self, job: Job) -> None:
        """A request came, whatever comes of it."""
        request = job.request
        usages = self._usages.setdefault(int(job.arrived // MINUTE_S), {})
        one = Usage(request.task, 1, request.rows, request.slo)
        known = usages.get(request.task)
        usages[request.task] = one if known is None else known.plus(one)

    def __call__(self, catalogue: Catalogue, fleet: Fleet, now: float) -> Iterable[actions.Action]:
        """What to keep warm until the next call, a period after the last."""
        until = int(now // MINUTE_S)
        ended = [minute for minute in self._usages if minute < until]
        self._history.close([Minute(each, tuple(self._usages.pop(each).values())) for each in ended], until)
        made = plan(
            catalogue,
            fleet,
            self._history.demands(catalogue),
            now,
            period_s=self._period_s,
            budget_usd_per_h=self._budget.usd_per_h,
            worth_usd=self._budget.worth_usd,
        )
        return made.actions


class Prewarming(Modelless):
    """Modelless, and what its planner wants kept warm."""

    def __init__(self, catalogue: Catalogue, budget: Budget, period_s: float = PERIOD_S) -> None:
        self._planner = Planner(budget, period_s)
        super().__init__(catalogue, capacity=self._planner, period_s=period_s)

    def arrive(self, job: Job, now: float) -> Iterable[Action]:
        """See Policy."""
        self._planner.arrived(job)
        return super().arrive(job, now)
