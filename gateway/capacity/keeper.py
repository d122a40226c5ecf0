"""Once a minute: notes what was asked for, plans from it, and has that carried out; never on a request's path."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar

from gateway.backends.protocol import Backend
from gateway.capacity.arrivals import Arrivals, minute_of
from gateway.capacity.carry_out import Part, carry_out, tier_of
from gateway.capacity.report import Report
from gateway.snapshots import Snapshots
from registry.activity import ActivityLog, Minute
from registry.catalogue import Catalogue
from registry.errors import RegistryError
from scheduler.capacity import Demand, Plan, plan
from scheduler.events import TierUnavailable
from scheduler.fleet import Fleet
from scheduler.history import History

log = logging.getLogger(__name__)

PERIOD_S = 60.0
"""Between two plans: the minute that activity is told in."""

AT_ONCE_MINUTES = 240
"""Of the past that are read and learnt at once: a second of work where a thousand tasks are asked for."""

T = TypeVar("T")


class InThread(Protocol):
    """`asyncio.to_thread`, or what stands for it."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """What `work` returns or raises."""


class Planner(Protocol):
    """`scheduler.capacity.plan`, or what stands for it."""

    def __call__(
        self,
        catalogue: Catalogue,
        fleet: Fleet,
        demands: Sequence[Demand],
        now: float,
        *,
        period_s: float,
        budget_usd_per_h: float,
    ) -> Plan:
        """What to do now; pure."""


class Keeper:
    """Keeps warm what is worth it within a budget. All methods are for the backends' loop."""

    def __init__(
        self,
        activity: ActivityLog,
        snapshots: Snapshots,
        backends: Mapping[str, Backend],
        *,
        budget_usd_per_h: float,
        arrivals: Arrivals | None = None,
        period_s: float = PERIOD_S,
        planner: Planner = plan,
        part: Part = Part.WHOLE,
        within_s: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        reported: Callable[[Report], None] = lambda _: None,
        learnt: Callable[[Sequence[Minute], int], None] = lambda minutes, until: None,
        in_thread: InThread = asyncio.to_thread,
    ) -> None:
        """`clock` is the backends'; `arrivals` are this process's own, where it has any to write down.

        Of a plan this `part` is carried out, and of that what can begin `within_s` of when it was asked for. `learnt`
        is told what was asked for in minutes that ended, and which is the first that is not known yet, on a thread.
        `in_thread` runs what would keep the loop: the log's I/O, and the plan.
        """
        self.last: Report | None = None
        self.budget_usd_per_h = budget_usd_per_h
        self._activity = activity
        self._snapshots = snapshots
        self._backends = backends
        self._arrivals = arrivals or Arrivals(wall=wall)
        self._period_s = period_s
        self._planner = planner
        self._part, self._within_s = part, within_s
        self._clock, self._wall = clock, wall
        self._reported, self._learnt = reported, learnt
        self._in_thread = in_thread
        self._history = History()

    async def keep_running(self) -> None:
        """A plan at once and then one each period, until cancelled; the next makes up for one that fails."""
        while True:
            began = self._clock()
            try:
                await self.once()
            except RegistryError as fault:
                log.warning("what to keep warm cannot be planned: %s", fault)
            except Exception:  # the outermost handler of a plan: the next one may do better
                log.exception("keeping warm")
            await asyncio.sleep(max(0.0, began + self._period_s - self._clock()))

    async def once(self) -> Report:
        """Make one plan and carry it out; raises Unavailable when activity cannot be written or read."""
        until = self._clock() + self._within_s
        await self.write_down()
        at = self._wall()
        await self._catch_up(minute_of(at))
        catalogue, fleet = self._snapshots.view()
        now = self._clock()
        work = partial(self._planned, catalogue, fleet, frozenset(self._backends), now)
        planned, demands = await self._in_thread(work)
        actions = [action for action in planned.actions if tier_of(action) in self._backends]
        outcomes = await carry_out(
            actions, self._backends, catalogue, part=self._part, goes_on=lambda: self._clock() < until
        )
        self.last = Report(at, planned, self.budget_usd_per_h, demands, outcomes)
        self._reported(self.last)
        return self.last

    async def write_down(self) -> None:
        """Add this process's own arrivals to the log; raises Unavailable, and then keeps them."""
        taken = dict(self._arrivals.take())
        try:
            for minute in sorted(taken):
                await self._in_thread(partial(self._activity.add, minute, taken[minute]))
                del taken[minute]
        except RegistryError:
            self._arrivals.give_back(taken)
            raise

    async def _catch_up(self, minute: int) -> None:
        """Learn every minute before this one, some at a time: two days of many tasks are not held, nor waited for."""
        for first in range(self._history.due(minute), minute, AT_ONCE_MINUTES):
            await self._in_thread(partial(self._learn, first, min(first + AT_ONCE_MINUTES, minute)))

    def _learn(self, first: int, until: int) -> None:
        minutes = self._activity.between(first, until)
        self._history.close(minutes, until)
        self._learnt(minutes, until)

    def _planned(
        self, catalogue: Catalogue, fleet: Fleet, served: Set[str], now: float
    ) -> tuple[Plan, tuple[Demand, ...]]:
        """A plan of what was learnt, and what is expected within a minute; on a thread, one at a time."""
        demands = self._history.demands(catalogue)
        # However soon the next plan comes, one is made for a minute at least: that is what is expected.
        period_s = max(self._period_s, PERIOD_S)
        within = [replace(d, ask=1.0 - (1.0 - d.ask) ** (period_s / PERIOD_S)) for d in demands]
        fleet, budget = _served(fleet, served, now), self.budget_usd_per_h
        return self._planner(catalogue, fleet, within, now, period_s=period_s, budget_usd_per_h=budget), demands


def _served(fleet: Fleet, served: Set[str], now: float) -> Fleet:
    """A fleet without the tiers that nothing serves here: what would be ready there is ready for nobody."""
    for tier in fleet.layout.tiers:
        if tier.name not in served:
            fleet = fleet.apply(TierUnavailable(tier.name, "no backend serves it here", math.inf, now))
    return fleet
