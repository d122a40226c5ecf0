"""Loads what would hold an SLO that is asked for in vain, and what a resident substitute stood in for.

Never on a request's path; and it makes no variant.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable

from gateway.decisions import Record
from gateway.generation.wishes import in_vain
from gateway.snapshots import Snapshots
from registry.catalogue import Catalogue
from registry.errors import NotFound
from registry.model import Placement, Slo
from scheduler.requests import Request
from scheduler.warming import to_load

log = logging.getLogger(__name__)

EVERY_S = 0.25
"""At least this between two looks at what was asked: each question costs as much as two decisions or three."""

AGAIN_S = 10.0
"""At least this between two loads of one placement: what is pushed out again at once is not fought for. And between two
looks at a question that was answered as it should be."""

WAITING = 16
"""Questions for one look; what comes beyond is seen when it is asked again."""


_Question = tuple[str, Slo, int]
"""Task, SLO and rows."""


class Warmer:
    """Warms one placement of a tier at a time. All methods are for the service's loop."""

    def __init__(
        self,
        snapshots: Snapshots,
        warm: Callable[[Placement, int, Catalogue], Awaitable[None]],
        *,
        clock: Callable[[], float],
        every_s: float = EVERY_S,
    ) -> None:
        """`warm` has a placement ready for so many rows when it returns, or says why not in the log."""
        self._snapshots = snapshots
        self._warm = warm
        self._clock = clock
        self._every_s = every_s
        self._some = asyncio.Event()
        self._waiting: dict[_Question, Request] = {}
        self._tried: dict[str, float] = {}
        """When (s) each placement was last warmed."""
        self._looked: dict[_Question, float] = {}
        """When (s) each question was last looked at."""
        self._under_way: set[str] = set()
        """Tiers."""

    def observe(self, record: Record) -> None:
        """Note the record's request if nothing was expected to hold its SLO, or if it was not looked at lately."""
        request = record.request
        question = request.task, request.slo, request.rows
        if len(self._waiting) >= WAITING or not (in_vain(record) or self._is_due(record, question)):
            return
        self._waiting[question] = request
        self._some.set()

    def _is_due(self, record: Record, question: _Question) -> bool:
        """Whether another variant may have been wanted for what was answered."""
        return record.served is not None and self._clock() - self._looked.get(question, -math.inf) >= AGAIN_S

    async def keep_running(self) -> None:
        """Until cancelled; what is being warmed is given up then."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._some.wait()
                for due in self._due():
                    group.create_task(self._one(*due))
                await asyncio.sleep(self._every_s)

    def _due(self) -> list[tuple[Placement, int, Catalogue]]:
        """What to warm for the questions that wait, which wait no longer."""
        requests, now = tuple(self._waiting.values()), self._clock()
        lately = {question: at for question, at in self._looked.items() if now - at < AGAIN_S}
        self._looked = lately | dict.fromkeys(self._waiting, now)
        self._waiting.clear()
        self._some.clear()
        found = [self._wanted(request) for request in requests]
        return [each for each in found if each is not None]

    def _wanted(self, request: Request) -> tuple[Placement, int, Catalogue] | None:
        now, (catalogue, fleet) = self._clock(), self._snapshots.view()
        try:
            action = to_load(request, catalogue, fleet, now)
        except NotFound:  # the task was taken away meanwhile
            return None
        if action is None or action.placement.tier in self._under_way:
            return None
        placement = action.placement
        if now - self._tried.get(placement.id, -math.inf) < AGAIN_S:
            return None
        self._tried = {id_: at for id_, at in self._tried.items() if now - at < AGAIN_S} | {placement.id: now}
        self._under_way.add(placement.tier)
        log.info("warming %s: %s", placement.id, action.reason)
        return placement, request.rows, catalogue

    async def _one(self, placement: Placement, rows: int, catalogue: Catalogue) -> None:
        try:
            await self._warm(placement, rows, catalogue)
        except Exception:  # the outermost handler of a warming: the next one is not to suffer
            log.exception("warming %s", placement.id)
        finally:
            self._under_way.discard(placement.tier)
