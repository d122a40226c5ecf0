"""Closed and open loop over a pool of connections; they read the clock they are given and open no socket themselves."""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

from benchmarks.load_measured import OK
from benchmarks.load_response import Malformed, Response
from simulator.arrivals import Floats

SAMPLE_EVERY = 101
"""Beyond the first answer for each request, every so-manieth is kept; prime, so that it meets all requests in turn."""

MOST_SAMPLES = 2000

IDLE = -1
"""The slot of a connection without a request in flight."""


class Record:
    """What became of each request: its slot in these arrays is its place in the order of sending."""

    __slots__ = ("_kept", "_requests", "_samples", "bodies", "done", "refused", "sent", "status")

    def __init__(self, requests: int, size: int = 0) -> None:
        self.sent = array("d", [math.inf]) * size
        self.done = array("d", [math.inf]) * size
        self.status = array("h", [0]) * size
        self.bodies: list[tuple[int, bytes]] = []
        self.refused: dict[int, bytes] = {}
        self._requests = requests
        self._kept = bytearray(requests)
        self._samples = 0

    def append(self, now: float) -> int:
        """A new slot, sent now."""
        self.sent.append(now)
        self.done.append(math.inf)
        self.status.append(0)
        return len(self.sent) - 1

    def answered(self, slot: int, now: float, response: Response) -> None:
        """A whole answer came."""
        self.done[slot] = now
        self.status[slot] = status = response.status
        if status != OK:
            if status not in self.refused:
                self.refused[status] = response.body()
        elif not self._kept[index := slot % self._requests]:
            self._kept[index] = True
            self.bodies.append((index, response.body()))
        elif slot % SAMPLE_EVERY == 0 and self._samples < MOST_SAMPLES:
            self._samples += 1
            self.bodies.append((index, response.body()))

    def given_up(self, slot: int, now: float) -> None:
        """No whole answer will come."""
        self.done[slot] = now


class Connection(asyncio.Protocol):
    """One persistent connection with at most one request in flight."""

    __slots__ = ("_loop", "_response", "_transport", "slot")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._response = Response()
        self._transport: asyncio.Transport
        self.slot = IDLE

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are asyncio's by what they do, not by their classes.
        self._transport = cast(asyncio.Transport, transport)
        self._loop.joined(self)

    def send(self, slot: int, request: bytes) -> None:
        """Write a request; the loop hears of its answer, or that the connection is lost."""
        self.slot = slot
        self._response.begin()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        try:
            whole = self.slot != IDLE and self._response.feed(data)
        except Malformed:
            self.abort()
            return
        if whole:
            self._loop.answered(self, self._response)
        elif self.slot == IDLE:
            # An answer to no request, such as one to a connection that idles too long.
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None and self.slot != IDLE and self._response.ended():
            self._loop.answered(self, self._response)
        self._loop.lost(self)

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()


class Loop(ABC):
    """What both loops share: the pool, the record, and giving up on requests that take too long."""

    def __init__(
        self,
        requests: Sequence[bytes],
        record: Record,
        *,
        most: int,
        timeout_s: float,
        clock: Callable[[], float],
        connect: Callable[[], None],
    ) -> None:
        """`connect` begins to open another connection and later calls `joined` or `not_joined`."""
        self.requests = requests
        self.record = record
        self.connections: set[Connection] = set()
        self._most = most
        self._timeout_s = timeout_s
        self._clock = clock
        self._connect = connect
        self._connecting = 0

    def joined(self, connection: Connection) -> None:
        """A connection is open."""
        self._connecting = max(self._connecting - 1, 0)
        self.connections.add(connection)
        self._free(connection, self._clock())

    def not_joined(self) -> None:
        """A connection could not be opened; `sweep` tries again where it is needed."""
        self._connecting -= 1

    def answered(self, connection: Connection, response: Response) -> None:
        """A whole answer came; the connection is free unless it ends."""
        now = self._clock()
        self.record.answered(connection.slot, now, response)
        connection.slot = IDLE
        if response.keep:
            self._free(connection, now)
        else:
            connection.close()

    def lost(self, connection: Connection) -> None:
        """A connection ended, and with it the request in flight."""
        self.connections.discard(connection)
        if connection.slot != IDLE:
            self.record.given_up(connection.slot, self._clock())
            connection.slot = IDLE

    def sweep(self, now: float) -> None:
        """Give up on what takes too long; to be called every few milliseconds."""
        for connection in tuple(self.connections):
            if connection.slot != IDLE and now - self._due(connection.slot) > self._timeout_s:
                self.record.given_up(connection.slot, now)
                connection.slot = IDLE
                connection.abort()

    def busy(self) -> bool:
        """Whether a request is in flight."""
        return any(connection.slot != IDLE for connection in self.connections)

    def close(self) -> None:
        """Close every connection."""
        for connection in tuple(self.connections):
            connection.abort()

    def _grow(self, wanted: int) -> None:
        """Begin to open as many connections as are wanted, less those being opened, up to the most."""
        room = self._most - len(self.connections) - self._connecting
        for _ in range(min(wanted - self._connecting, room)):
            self._connecting += 1
            self._connect()

    @abstractmethod
    def finished(self) -> bool:
        """Whether every request was sent and settled."""

    @abstractmethod
    def _free(self, connection: Connection, now: float) -> None:
        """A connection can take a request."""

    @abstractmethod
    def _due(self, slot: int) -> float:
        """When a request should have been sent, on the loop's clock."""


class ClosedLoop(Loop):
    """Every connection sends the next request as soon as it has its answer, until `stop` on the clock."""

    stop = math.inf

    def finished(self) -> bool:
        return self._clock() >= self.stop and not self.busy()

    def sweep(self, now: float) -> None:
        super().sweep(now)
        if now < self.stop:
            self._grow(self._most - len(self.connections))

    def lost(self, connection: Connection) -> None:
        super().lost(connection)
        if self._clock() < self.stop:
            self._grow(self._most - len(self.connections))

    def _free(self, connection: Connection, now: float) -> None:
        if now < self.stop:
            slot = self.record.append(now)
            connection.send(slot, self.requests[slot % len(self.requests)])

    def _due(self, slot: int) -> float:
        return self.record.sent[slot]


class OpenLoop(Loop):
    """Every request is sent at its time; where no connection is free it waits its turn, and its time runs."""

    def __init__(
        self,
        requests: Sequence[bytes],
        record: Record,
        times: Floats,
        *,
        most: int,
        timeout_s: float,
        clock: Callable[[], float],
        connect: Callable[[], None],
        wake_at: Callable[[float], None],
    ) -> None:
        """`wake_at` arranges a call of `send_due` at that time on the clock, in place of the one arranged before."""
        super().__init__(requests, record, most=most, timeout_s=timeout_s, clock=clock, connect=connect)
        self._times: list[float] = times.tolist()
        self._origin = math.inf
        self._wake_at = wake_at
        # Turns are taken by the connection that idled longest: a server's workers, who share them, get equal parts.
        self._idle: deque[Connection] = deque()
        self._next = 0
        # For which slot a call is arranged; the first, until the start, so that none is before.
        self._woken_for = 0

    def start(self, origin: float) -> None:
        """Count the times from `origin` on the clock, and begin."""
        self._origin = origin
        self.send_due()

    def finished(self) -> bool:
        return self._next == len(self._times) and not self.busy()

    def send_due(self) -> None:
        """Send what is due as far as connections are free, and arrange the next call."""
        self._woken_for = IDLE
        self._send_due(self._clock())

    def lost(self, connection: Connection) -> None:
        super().lost(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def sweep(self, now: float) -> None:
        super().sweep(now)
        while self._next < len(self._times) and now - self._due(self._next) > self._timeout_s:
            self.record.given_up(self._next, now)
            self._next += 1
        self._send_due(now)

    def _free(self, connection: Connection, now: float) -> None:
        self._idle.append(connection)
        self._send_due(now)

    def _send_due(self, now: float) -> None:
        times, last, slot, elapsed = self._times, len(self._times), self._next, now - self._origin
        while slot < last and times[slot] <= elapsed:
            if not self._idle:
                self._grow(bisect_right(times, elapsed, slot) - slot)
                return
            self.record.sent[slot] = now
            self._next = slot + 1
            self._idle.popleft().send(slot, self.requests[slot % len(self.requests)])
            slot = self._next
        if slot < last and slot != self._woken_for:
            self._woken_for = slot
            self._wake_at(self._due(slot))

    def _due(self, slot: int) -> float:
        return self._origin + self._times[slot]
