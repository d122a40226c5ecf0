"""Opens the jobs of a platform on one machine, kept in its home; decides nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from gateway.jobs.jobs import Jobs
from gateway.jobs.runner import Runner
from gateway.local import Platform
from registry.jobs import MOST_OPEN
from registry.stores.job_parts import FolderParts
from registry.stores.jobs import FILE, SqliteJobs


@asynccontextmanager
async def taking_jobs(platform: Platform, at_once: int, *, most_open: int = MOST_OPEN) -> AsyncIterator[Jobs]:
    """The jobs of a home, `at_once` of which run at the same time, until the block ends; 0: none runs here.

    What runs then is given back, and runs again when a platform of the same home is next open. Raises Unavailable when
    the jobs cannot be read.
    """
    path = platform.home / FILE
    store = SqliteJobs(path, FolderParts(path.parent))
    try:
        if at_once < 1:
            yield Jobs(platform.service, store, send=lambda _: None, most_open=most_open)
            return
        runner = Runner(store, platform.service, at_once=at_once, cores=len(os.sched_getaffinity(0)))
        running = asyncio.create_task(runner.keep_running())
        try:
            yield Jobs(
                platform.service,
                store,
                send=lambda _: runner.wake(),
                cancelled=lambda job: runner.cancel(job.id),
                most_open=most_open,
            )
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
    finally:
        store.close()
