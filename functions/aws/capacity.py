"""One part of the capacity plan inside a function, as prewarm and evict carry them out; it decides nothing.

Both make the same plan of the same stored minutes. Nothing but these and what was seen of environments is kept between
two events: a new execution environment tells itself the past from the log.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from functions.aws.backends import CloudBackends
from functions.aws.catalogue import CatalogueWatch
from functions.aws.emf import Emf
from functions.aws.settings import CapacitySettings
from functions.aws.sightings import seen_since, take_in
from functions.aws.unmeasured import Unmeasured
from gateway.capacity.arrivals import minute_of
from gateway.capacity.carry_out import Part, Result
from gateway.capacity.foresight import Foresight
from gateway.capacity.keeper import Keeper
from gateway.capacity.report import capacity_document
from gateway.snapshots import Snapshots
from registry.activity import Minute
from registry.catalogue import Catalogue
from registry.stores.dynamodb import DynamoStore
from registry.stores.dynamodb_activity import DynamoActivity
from registry.stores.dynamodb_sightings import DynamoSightings
from registry.stores.dynamodb_table import DynamoTable

if TYPE_CHECKING:
    from gateway.backends.lambda_ import Client

log = logging.getLogger(__name__)

WITHIN_S = 30.0
"""Of its minute in which an action may begin: what a function is stopped in, nobody hears of."""


class Capacity:
    """Plans once for a scheduled event, and carries its part out."""

    def __init__(
        self,
        settings: CapacitySettings,
        part: Part,
        *,
        table: DynamoTable | None = None,
        make_lambda: Callable[[int], Client] | None = None,
        emf: Emf | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._part, self._clock, self._wall = part, clock, wall
        self._foresight = Foresight(part)
        self._emf = emf or Emf(part.value, write=None)
        self._unmeasured = Unmeasured(settings.gpus if part is Part.SHRINK else {})
        self._snapshots = Snapshots(Catalogue.empty())
        self._backends = CloudBackends(
            settings.workers, emit=self._snapshots.emit, gpus=settings.gpus, make_client=make_lambda, clock=clock
        )
        table = table or DynamoTable(settings.table)
        self._watch = CatalogueWatch(DynamoStore(table), self._snapshots, changed=self._backends.follow, clock=clock)
        self._activity = DynamoActivity(table)
        self._sightings = DynamoSightings(table)
        self._keeper = Keeper(
            self._activity,
            self._snapshots,
            self._backends.by_tier,
            budget_usd_per_h=settings.budget_usd_per_h,
            part=part,
            within_s=WITHIN_S,
            clock=clock,
            wall=wall,
            learnt=self._learnt,
        )

    async def once(self) -> dict[str, Any]:
        """The plan and what came of this part of it; nothing where this minute was taken care of.

        Events are delivered at least once, and may overlap. Raises Unavailable when the table cannot be reached.
        """
        began, wall = self._clock(), self._wall()
        if not self._activity.claim(self._part.value, minute_of(wall)):
            return {"claimed": False}
        self._watch.look()
        tiers = self._backends.by_tier
        await asyncio.to_thread(self._unmeasured.end, tiers)
        longest_s = max((backend.tier.idle_timeout_s for backend in tiers.values()), default=0.0)
        take_in(self._sightings.since(wall - longest_s, wall), tiers, began, wall)
        report = await self._keeper.once()
        seen = seen_since(self._snapshots.view()[1], began, self._clock(), self._wall())
        self._sightings.add(seen)
        self._emf.put(self._foresight.reported(report, self._snapshots.view()[0].tiers))
        document = capacity_document(report, report.budget_usd_per_h)
        changed = [action for action in document["actions"] if action["result"] != Result.ALREADY]
        log.info("%s: %d tasks, $%.6g an hour: %s", self._part, len(report.demands), document["usd_per_h"], changed)
        return {"claimed": True, **document}

    def _learnt(self, minutes: Sequence[Minute], until: int) -> None:
        self._emf.put(self._foresight.learnt(minutes, until))
