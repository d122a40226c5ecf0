"""Listens for HTTP on one address and drains on a stop; never looks at a request."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from runtime.container.connection import Connection, Handle, Intake, Limits
from runtime.listener import BACKLOG

NOTICE_S = 0.25
"""How long peers are told that the server stops before connections on which nothing happens are closed: a request that
is on its way into one of those would be lost."""


class Listening:
    """An HTTP server over one socket, on the running loop."""

    def __init__(self, handle: Handle, limits: Limits, *, bodies_bytes: int, connections: int) -> None:
        """At most so many `connections` are heard, and so many bytes of bodies are under way on them together."""
        self._handle = handle
        self._limits = limits
        self._intake = Intake(bodies_bytes)
        self._most = connections
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._draining = False
        self._quiet = asyncio.Event()
        self._quiet.set()
        """No connection is open."""

    async def start(self, listener: socket.socket) -> None:
        """Take connections from now on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(
                self._handle, self._limits, opened=self._opened, closed=self._closed, intake=self._intake
            ),
            sock=listener,
            backlog=BACKLOG,
        )
        self._sweep_later(loop)

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self._connections)

    async def drain(self, notice_s: float = NOTICE_S) -> None:
        """Say `connection: close` in every answer from now on, and after `notice_s` take no more connections.

        Those that came last are given as long again to send what they came for.
        """
        self._draining = True
        for connection in self._connections:
            connection.draining = True
        await self._quiet_within(notice_s)
        self._stop_listening()
        await self._quiet_within(notice_s)

    async def close(self, within_s: float) -> None:
        """Take no more connections, let requests under way end for so long, then close what is left."""
        self._stop_listening()
        for connection in list(self._connections):
            connection.drain()
        await self._quiet_within(within_s)
        for connection in list(self._connections):
            connection.abort()
        if self._sweep is not None:
            self._sweep.cancel()

    async def _quiet_within(self, seconds: float) -> None:
        """Wait until no connection is open, or for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._quiet.wait()

    def _stop_listening(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def _opened(self, connection: Connection) -> None:
        connection.draining = self._draining
        self._connections.add(connection)
        self._quiet.clear()
        if len(self._connections) > self._most:
            connection.turn_away()

    def _closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._quiet.set()

    def _sweep_later(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in list(self._connections):
            connection.sweep(now)
        self._sweep = loop.call_later(self._limits.sweep_s, self._sweep_later, loop)
