"""Opens what follows the requests that nothing held: warming, and generation on demand; decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any

from gateway.generation.runner import EVERY_S, Runner
from gateway.generation.warm import warm, warm_made
from gateway.generation.warmer import Warmer
from gateway.generation.wishes import Wishes, expected
from gateway.local import Platform
from registry.generations import Asked
from registry.stores.generations import FILE, SqliteGenerations


@asynccontextmanager
async def on_demand(
    platform: Platform, command: Sequence[str] | None, *, every_s: float = EVERY_S
) -> AsyncIterator[SqliteGenerations]:
    """The generations of a home, while what its callers ask for in vain is warmed, and made, until the block ends.

    `command` looks at the questions and makes what follows, in a process of its own (`modelless generate`). With None
    no variant is made; what is registered is warmed all the same, as a request that it served would load it.
    Raises Unavailable when the generations cannot be read.
    """
    generations = SqliteGenerations(platform.home / FILE)
    async with AsyncExitStack() as stack:
        stack.callback(generations.close)
        warmer = Warmer(platform.snapshots, partial(warm, platform=platform), clock=platform.clock)
        platform.service.watch_with(warmer.observe)
        await stack.enter_async_context(_running(warmer))
        if command is not None:
            wishes = Wishes(clock=platform.clock, expected=partial(expected_now, platform=platform))
            platform.service.generate_with(wishes.observe, wishes.generating)
            published = partial(warm_made, platform=platform)
            runner = Runner(platform.home, command, wishes, generations, every_s=every_s, published=published)
            await stack.enter_async_context(_running(runner))
        yield generations


def expected_now(asked: Asked, platform: Platform) -> Asked | None:
    """A question with what the platform's decisions expect now; None when it lacks no variant."""
    return expected(asked, *platform.snapshots.view(), platform.clock())


@asynccontextmanager
async def _running(what: Warmer | Runner) -> AsyncIterator[None]:
    task: asyncio.Task[Any] = asyncio.create_task(what.keep_running())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
