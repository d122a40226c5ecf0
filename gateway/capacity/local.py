"""Opens the keeper of a platform on one machine, with a log of activity in its home; decides nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from gateway.capacity.arrivals import Arrivals
from gateway.capacity.keeper import PERIOD_S, Keeper
from gateway.local import Platform
from registry.activity import ActivityLog
from registry.errors import RegistryError, Unavailable
from registry.stores.activity import FILE, MemoryActivity, SqliteActivity

log = logging.getLogger(__name__)


@asynccontextmanager
async def keeping_warm(
    platform: Platform, budget_usd_per_h: float, *, period_s: float = PERIOD_S
) -> AsyncIterator[Keeper | None]:
    """The running keeper of a platform until the block ends; None where the budget is 0, and nothing is kept warm.

    What was asked for until then is written down at the end, so that a platform of the same home goes on from it. A log
    that cannot be opened keeps nobody from being served: without it, what was asked for is known until the block ends.
    """
    if budget_usd_per_h <= 0:
        yield None
        return
    activity, arrivals = _opened(platform.home / FILE), Arrivals()
    keeper = Keeper(
        activity,
        platform.snapshots,
        platform.backends,
        budget_usd_per_h=budget_usd_per_h,
        arrivals=arrivals,
        period_s=period_s,
        clock=platform.clock,
        reported=platform.metrics.kept_warm,
    )
    platform.service.watch_with(lambda record: arrivals.note(record.request))
    running = asyncio.create_task(keeper.keep_running())
    try:
        yield keeper
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        with suppress(RegistryError):
            await keeper.write_down()
        activity.close()


def _opened(path: Path) -> ActivityLog:
    try:
        return SqliteActivity(path)
    except Unavailable as fault:
        log.warning("what was asked for is not known, and is forgotten when this stops (delete the file?): %s", fault)
        return MemoryActivity()
