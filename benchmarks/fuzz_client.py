"""Sends cases over a few connections and says what came back and when; it never waits longer than a case allows."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from benchmarks.fuzz_corpus import Case
from benchmarks.load_response import Malformed, Response

GRACE_S = 1.0
"""Beyond its deadline, that every request must have its answer in."""

CLOSED = 0
"""The status of a connection that ended without an answer."""

CHUNK = 1 << 16


@dataclass(slots=True)
class Tally:
    """What came of the cases of one operation."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    hangs: list[Case] = field(default_factory=list)
    unanswered: list[Case] = field(default_factory=list)
    """Whole requests whose connection ended without an answer, or with something that is none."""
    faults: list[tuple[int, Case, bytes]] = field(default_factory=list)
    """Answers of 500 and more, with their bodies."""

    def refused(self, case: Case) -> None:
        """The server took no connection for it."""
        self.statuses[CLOSED] += 1
        self.unanswered.append(case)


async def send(host: str, port: int, cases: Iterable[Case], tallies: dict[str, Tally], connections: int) -> None:
    """Send every case over so many connections at once and note what came of it under its operation."""
    queue = iter(cases)
    await asyncio.gather(*(_sender(host, port, queue, tallies) for _ in range(connections)))


async def _sender(host: str, port: int, queue: Iterator[Case], tallies: dict[str, Tally]) -> None:
    connection: _Connection | None = None
    for case in queue:
        tally = tallies.setdefault(case.operation, Tally())
        if connection is None or not case.whole:
            if connection is not None:
                connection.close()
            try:
                connection = await _Connection.open(host, port)
            except OSError:
                connection = None
                tally.refused(case)
                continue
        if not await connection.ask(case, tally):
            connection.close()
            connection = None
    if connection is not None:
        connection.close()


class _Connection:
    """One connection, for one case after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, host: str, port: int) -> _Connection:
        return cls(*await asyncio.open_connection(host, port))

    def close(self) -> None:
        """End it at once: thousands of ports would wait for stragglers otherwise."""
        # A connection that the server has ended already has nothing left to set.
        with contextlib.suppress(OSError):
            end = self._writer.get_extra_info("socket")
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._writer.close()

    async def ask(self, case: Case, tally: Tally) -> bool:
        """Send a case and note what comes; whether the connection can carry another."""
        began, response, status = time.perf_counter(), Response(), CLOSED
        try:
            async with asyncio.timeout(case.within_s + GRACE_S):
                status = await self._exchange(case, response)
        except TimeoutError:
            tally.hangs.append(case)
            return False
        tally.seconds.append(time.perf_counter() - began)
        tally.statuses[status] += 1
        if status == CLOSED and case.whole:
            tally.unanswered.append(case)
        if status >= 500:
            tally.faults.append((status, case, response.body()[:500]))
        return status != CLOSED and response.keep and case.whole

    async def _exchange(self, case: Case, response: Response) -> int:
        """The status that came, or CLOSED."""
        try:
            self._writer.write(case.raw)
            await self._writer.drain()
            if not case.whole:
                self._writer.write_eof()
        except OSError:
            pass  # It was refused before it was all sent: what was said about it may still be read.
        try:
            while chunk := await self._reader.read(CHUNK):
                if response.feed(chunk):
                    return response.status
        except (OSError, Malformed):
            return CLOSED
        return response.status if response.ended() else CLOSED
