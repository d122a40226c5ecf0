"""Opens generation on demand beside a platform, and closes it again; decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

from gateway.generation.runner import EVERY_S, Runner
from gateway.generation.warm import warm
from gateway.generation.wishes import Wishes
from gateway.local import Platform
from registry.stores.jobs import FILE, SqliteJobs


@asynccontextmanager
async def on_demand(
    platform: Platform, command: Sequence[str] | None, *, every_s: float = EVERY_S
) -> AsyncIterator[SqliteJobs]:
    """The jobs of a platform's home, which follow what its callers ask for in vain while the block lasts.

    `command` looks at the questions and does the jobs that follow, in a process of its own (`modelless generate`). With
    None nothing is noted and nothing done. Raises Unavailable when the jobs cannot be read.
    """
    jobs = SqliteJobs(platform.home / FILE)
    try:
        if command is None:
            yield jobs
            return
        wishes = Wishes(clock=platform.clock)
        platform.service.generate_with(wishes.observe, wishes.generating)
        runner = Runner(
            platform.home, command, wishes, jobs, every_s=every_s, published=partial(warm, platform=platform)
        )
        running = asyncio.create_task(runner.keep_running())
        try:
            yield jobs
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
    finally:
        jobs.close()
