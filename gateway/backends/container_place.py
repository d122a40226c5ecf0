"""Where a container listens: a child of this process that is kept alive, or a URL; never what it is asked to run.

Either way it comes and goes, and whoever uses it is told: `came` when it can be reached, `went` when no more.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from gateway.backends.connections import ConnectionLost, Connections, Unreachable
from gateway.backends.container_child import Child
from gateway.errors import NotReady

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.1
"""Between the end of a child and the next start; it doubles with each that ends early."""

MOST_PAUSE_S = 30.0
"""What ends at once every time is still tried twice a minute: a disk or a driver may have come back."""

STEADY_S = 60.0
"""A child that lived so long is not in a loop of failures."""

RETRY_S = 1.0
"""When to look at a URL again that could not be reached."""

READY = "/v2/health/ready"


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who is told of a container's life."""

    starts: Callable[[], None]
    """It begins to start; then one of the two others is called, unless it is closed first."""
    came: Callable[[], None]
    went: Callable[[str], None]
    """With the reason."""


class Place(Protocol):
    """One container, somewhere; every method belongs to one loop."""

    reason: str
    """Why it cannot be reached now; empty when it can, or when nobody tried yet."""

    async def reach(self) -> Connections:
        """Connections to it, once it listens. Raises NotReady, which says when to try again."""

    def lost(self, reason: str) -> None:
        """Take note that it could not be reached."""

    async def rest(self) -> bool:
        """Stop what was started until it is reached for again; whether it ran. Raises NotReady for another's."""

    async def close(self) -> None:
        """Stop what was started."""


class Local:
    """A child that is started when it is first asked for, and again whenever it ends."""

    def __init__(
        self, command: Sequence[str], watcher: Watcher, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.reason = ""
        self._command = command
        self._watcher = watcher
        self._clock = clock
        self._again_at = -math.inf
        self._connections: Connections | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    async def reach(self) -> Connections:
        """See Place; the first start is waited for, a later one is not."""
        while self._connections is None:
            if self.reason:
                raise NotReady(self.reason, max(FIRST_PAUSE_S, self._again_at - self._clock()))
            if self._keeping is None:
                self._keeping = asyncio.create_task(self._keep())
            await self._changed.wait()
        return self._connections

    def lost(self, reason: str) -> None:
        """Nothing to do: the child's end tells more."""

    async def rest(self) -> bool:
        """See Place."""
        keeping = self._keeping
        if keeping is None:
            return False
        self._changed.clear()
        self._disconnect()
        await self._end(keeping)
        self.reason, self._keeping = "", None
        self._watcher.went("at zero copies")
        # Whoever waits looks again, and starts it.
        self._changed.set()
        self._changed.clear()
        return True

    async def close(self) -> None:
        """End the child, by its pid."""
        self.reason = "closed"
        self._changed.set()
        if self._keeping is not None:
            await self._end(self._keeping)

    async def _end(self, keeping: asyncio.Task[None]) -> None:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
        self._disconnect()

    async def _keep(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            began = self._clock()
            reason = await self._live()
            pause_s = FIRST_PAUSE_S if self._clock() - began >= STEADY_S else min(2 * pause_s, MOST_PAUSE_S)
            self._disconnect()
            self.reason = reason
            self._again_at = self._clock() + pause_s
            self._changed.set()
            self._watcher.went(reason)
            log.warning("%s; it is started again in %.1f s", reason, pause_s)
            await asyncio.sleep(pause_s)

    async def _live(self) -> str:
        """One child from its start to its end; why it ended."""
        self._watcher.starts()
        try:
            child = Child(self._command)
        except NotReady as fault:
            return str(fault)
        try:
            self._connections = Connections(await child.listening(), clock=self._clock)
            self.reason = ""
            self._changed.set()
            self._watcher.came()
            return f"the container ended with status {await child.ended()}: {child.last_words()}"
        except NotReady as fault:
            return str(fault)
        finally:
            await child.stop()

    def _disconnect(self) -> None:
        if self._connections is not None:
            self._connections.close()
            self._connections = None


class Remote:
    """A container at a URL, which somebody else keeps alive."""

    def __init__(self, url: str, watcher: Watcher, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises InvalidValue for a URL that is none."""
        self.reason = ""
        self._connections = Connections(url, clock=clock)
        self._watcher = watcher
        self._clock = clock
        self._again_at = -math.inf
        self._there = False
        self._looking = asyncio.Lock()

    async def reach(self) -> Connections:
        """See Place; it is looked at first when it was not there."""
        while not self._there:
            left_s = self._again_at - self._clock()
            if left_s > 0:
                raise NotReady(self.reason, left_s)
            async with self._looking:
                if not self._there and self._again_at <= self._clock():
                    await self._look()
        return self._connections

    def lost(self, reason: str) -> None:
        """Look at it again before the next use."""
        self.reason = reason
        self._again_at = self._clock() + RETRY_S
        if self._there:
            self._there = False
            self._watcher.went(reason)

    async def rest(self) -> bool:
        """See Place; it is not ours to stop."""
        raise NotReady(f"{self._connections.url} is kept by somebody else", math.inf)

    async def close(self) -> None:
        """Leave it as it is."""
        self._there = False
        self.reason, self._again_at = "closed", math.inf
        self._connections.close()

    async def _look(self) -> None:
        try:
            answer = await self._connections.exchange("GET", READY)
        except (Unreachable, ConnectionLost) as fault:
            self.lost(str(fault))
            return
        if answer.status != HTTPStatus.OK:
            self.lost(f"{self._connections.url} is not ready (HTTP {answer.status})")
            return
        self.reason, self._there = "", True
        self._watcher.starts()
        self._watcher.came()
