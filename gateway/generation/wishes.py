"""Notes SLOs that nothing held, knows what is made to hold them; on a request's path, so it never waits or plans."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace

from gateway.decisions import Record, Served
from gateway.errors import Infeasible
from registry.catalogue import Catalogue
from registry.generations import Asked, Generating, Generation
from registry.model import OnInfeasible, Slo
from scheduler.fleet import Fleet
from scheduler.requests import Request
from scheduler.warming import where_warm

AGAIN_S = 60.0
"""The same question is looked at again after this, or when the catalogue has changed: answers follow from it, and from
how fast things are just then. Also the longest between two processes that look in vain (`runner.LONGEST_S`)."""

WAITING = 64
"""Questions that may wait to be looked at; what comes beyond is noted when it is asked again."""

REMEMBERED = 1024
"""Questions whose last look is remembered."""


class Wishes:
    """What callers ask for in vain. All methods are for the service's loop."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        expected: Callable[[Asked], Asked | None] = lambda asked: asked,
    ) -> None:
        """`expected` adds what decisions expect; None: what is asked needs no variant that does not exist."""
        self.some = asyncio.Event()
        """Set while questions wait."""
        self._clock = clock
        self._expected = expected
        self._waiting: dict[str, Asked] = {}
        self._looked: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._under_way: Mapping[str, Generation] = {}

    def observe(self, record: Record) -> None:
        """Note the record's SLO if nothing was expected to hold it, unless it has been looked at lately."""
        if not in_vain(record):
            return
        asked = _asked(record.request)
        now, version = self._clock(), record.catalogue.version
        when, seen = self._looked.get(asked.key, (-AGAIN_S, -1))
        if (seen == version and now - when < AGAIN_S) or len(self._waiting) >= WAITING:
            return
        self._looked[asked.key] = now, version
        self._looked.move_to_end(asked.key)
        if len(self._looked) > REMEMBERED:
            self._looked.popitem(last=False)
        self._waiting[asked.key] = asked
        self.some.set()

    def generating(self, request: Request) -> Generating | None:
        """The generation, if one is queued or running, that is to make what would hold this request's SLO."""
        generation = self._under_way.get(_asked(request).key) if self._under_way else None
        return None if generation is None else Generating(generation.id, generation.recipe)

    def take(self) -> tuple[Asked, ...]:
        """The questions that wait, which wait no longer; what needs no new variant is noted when it is asked again."""
        looked = {key: self._expected(asked) for key, asked in self._waiting.items()}
        for key, asked in looked.items():
            if asked is None:
                self._looked.pop(key, None)
        self._waiting.clear()
        self.some.clear()
        return tuple(asked for asked in looked.values() if asked is not None)

    def see(self, under_way: Mapping[str, Generation]) -> None:
        """Generations that are queued or running, by the key of each question."""
        self._under_way = under_way


def in_vain(record: Record) -> bool:
    """Whether nothing was expected to hold the record's SLO."""
    if record.served is None:
        return isinstance(record.error, Infeasible)
    return _expected_to_break(record.served, record.request.slo)


def expected(asked: Asked, catalogue: Catalogue, fleet: Fleet, now: float) -> Asked | None:
    """A question with what decisions expect now of each placement, variant resident.

    None when one of them would hold the SLO so, or the task is gone: then no variant is missing.
    """
    if asked.task not in catalogue.tasks:
        return None
    request = Request(asked.task, asked.slo, asked.rows, elapsed_ms=asked.before_ms)
    decision = where_warm(request, catalogue, fleet, now)
    if decision.feasible:
        return None
    view = decision.ranked.outlook
    ids = (placement.id for placement in view.table.placements)
    return replace(asked, expected_ms=tuple(zip(ids, (view.latency_ms - asked.before_ms).tolist(), strict=True)))


def _expected_to_break(served: Served, slo: Slo) -> bool:
    """Whether the bounds were not expected to hold; a cost is known only afterwards."""
    return (
        (slo.latency_ms is not None and served.predicted_latency_ms > slo.latency_ms)
        or (slo.min_accuracy is not None and served.accuracy < slo.min_accuracy)
        or (slo.max_cost_usd is not None and served.cost_usd > slo.max_cost_usd)
    )


def _asked(request: Request) -> Asked:
    # Strict or not, it is the same question.
    slo = replace(request.slo, on_infeasible=OnInfeasible.BEST_EFFORT)
    return Asked(request.task, slo, request.rows, before_ms=request.elapsed_ms)
