"""One HTTP/1.1 connection: bytes to requests and answers to bytes, in order; never looks at what a request says.

Everything that a peer can make it keep is bounded: heads and bodies in bytes and in time, requests under way in
number, answers that nobody reads. What it refuses it refuses in JSON.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import httptools

from runtime.codecs.text import dumps
from runtime.container.exchange import JSON, Exchange, Headers

AGAIN = ((b"retry-after", b"1"),)
"""What is full now may soon not be: bodies are under way for as long as their runs are."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may take; seconds are checked once per `sweep_s`."""

    head_bytes: int = 64 * 1024
    """Of the request line and headers together; and of what comes with a body that is no part of it, such as trailers,
    before there is more of it."""
    head_s: float = 60.0
    """From the first byte of a head to its end, as nginx has it (`client_header_timeout`)."""
    body_bytes: int = 64 * 2**20
    body_s: float = 60.0
    """From the end of a head to that of its body."""
    idle_s: float = 75.0
    """Between requests: longer than load balancers keep theirs (60 s), so that none sends into what is being closed."""
    unread_s: float = 60.0
    """How long answers may wait for a peer that reads nothing of them."""
    pipelined: int = 64
    """Requests of one connection that are under way; the next ones wait, and no more are read."""
    linger_s: float = 2.0
    """How long what still comes is thrown away after a refusal, so that the peer reads that and no reset."""
    sweep_s: float = 1.0


class Intake:
    """The bodies that are under way on all connections together, from their first byte to the answer."""

    __slots__ = ("held", "most")

    def __init__(self, most: int = sys.maxsize) -> None:
        self.most = most
        """Bytes; what comes beyond is refused."""
        self.held = 0


Handle = Callable[[Exchange], None]
"""Takes a request; answers it now or later, and raises nothing."""

Note = Callable[["Connection"], None]
"""Is told of a connection that was opened or closed."""


class Connection(asyncio.Protocol):
    """One peer's requests, answered in the order in which they came."""

    def __init__(
        self, handle: Handle, limits: Limits, *, opened: Note, closed: Note, intake: Intake | None = None
    ) -> None:
        self.draining = False
        self._handle = handle
        self._limits = limits
        self._opened = opened
        self._closed = closed
        self._intake = intake or Intake()
        self._taken = 0
        """How much of it is this connection's."""
        self._parser = httptools.HttpRequestParser(self)
        self._pending: deque[Exchange] = deque()
        """What is under way, or answered and not sent yet."""
        self._held: deque[Exchange] = deque()
        """What came with others in the same bytes, and waits until it may be under way."""
        self._handing = False
        self._current: Exchange | None = None
        """Whose head or body is coming in."""
        self._in_body = False
        self._body: bytes | bytearray = b""
        self._aside = 0
        """Bytes of the head that is coming in, or those since its body last grew: of chunks' frames, and trailers."""
        self._mixed = False
        """The bytes that are being taken in end a head or a request."""
        self._since = 0.0
        """When a head or body began to come in, or the last answer went out, by the sweep's clock; 0: since the last
        sweep."""
        self._blocked = False
        """The peer does not read."""
        self._unsent = 0
        """Bytes that waited for the peer at the last sweep."""
        self._unsent_since = 0.0
        self._reading = True
        self._deaf = False
        """What still comes is thrown away: a refusal or a last answer is on its way."""
        self._lingering = False
        """The peer may still be sending: it is given a moment to read what it was told."""

    # What the event loop calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A peer is there."""
        self._transport = transport
        self._opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer has left: what waits for it need not run."""
        self._closed(self)
        self.take(-self._taken)
        self._intake = Intake()  # of what is answered from now on
        pending, self._pending = self._pending, deque()
        self._held.clear()
        for exchange in pending:
            exchange.abandon()

    def data_received(self, data: bytes) -> None:
        """Take bytes in."""
        if self._deaf:
            return
        self._mixed = False
        before = len(self._body)
        try:
            self._feed(data)
        except httptools.HttpParserError:
            if not self._deaf:
                self._refuse(400, "this is not an HTTP/1.1 request that can be understood")
            return
        if self._current is not None and not self._mixed:
            # What began behind the end of another is counted from the next bytes on: they come in 256 KiB.
            self._aside = 0 if len(self._body) > before else self._aside + len(data)
            if self._aside > self._limits.head_bytes:
                what = "trailers, or frames of chunks," if self._in_body else "the request line and headers"
                self._refuse(431, f"{what} are over {self._limits.head_bytes} bytes")
        if self._reading and not self._taking:
            self._pace()

    def pause_writing(self) -> None:
        """The peer does not read: neither is it read, so that its answers do not pile up."""
        self._blocked = True
        self._pace()

    def resume_writing(self) -> None:
        """It reads again."""
        self._blocked = False
        self._hand_over()
        self._pace()

    # What the parser calls

    def on_message_begin(self) -> None:
        """A head begins."""
        if self._deaf:
            raise ConnectionAbortedError  # which ends the parser's work on what came
        self._current = Exchange(self)
        self._aside = 0
        self._since = 0.0

    def on_url(self, url: bytes) -> None:
        """The target of the request line, or a part of it."""
        assert self._current is not None
        self._current.path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; what comes after a body in its place is passed over."""
        if not self._in_body:
            assert self._current is not None
            self._current.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """A head ends; a body that is too large is refused before it comes."""
        exchange = self._current
        assert exchange is not None
        self._in_body = self._mixed = True
        self._aside = 0
        self._since = 0.0
        parser = self._parser
        exchange.method = parser.get_method()
        exchange.keep_alive = parser.should_keep_alive()
        headers = exchange.headers
        if b"connection" in headers:
            exchange.old = parser.get_http_version() == "1.0"
        if not exchange.path.startswith(b"/"):
            exchange.take_origin_form()
        if b"host" not in headers and parser.get_http_version() == "1.1":
            self._refuse(400, "an HTTP/1.1 request says in its header Host whom it asks")
            return
        length = headers.get(b"content-length", b"0")
        if len(length) > 18 or int(length) > self._limits.body_bytes:
            self._too_large()
        elif self._intake.held + int(length) > self._intake.most:
            self._too_many()
        elif b"expect" in headers and headers[b"expect"].lower() == b"100-continue":
            exchange.continue_due = True
            if not self._pending and not self._held:
                self._continue(exchange)

    def on_body(self, chunk: bytes) -> None:
        """A part of a body."""
        if self._deaf:
            return
        if len(self._body) + len(chunk) > self._limits.body_bytes:
            self._too_large()
            return
        if self._intake.held + len(chunk) > self._intake.most:
            self._too_many()
            return
        self.take(len(chunk))
        if not self._body:
            self._body = chunk
        elif isinstance(self._body, bytearray):
            self._body += chunk
        else:
            # One buffer, not a list: a body can come byte by byte.
            self._body = bytearray(self._body) + chunk

    def on_message_complete(self) -> None:
        """A request is whole."""
        exchange, self._current, self._in_body, self._mixed = self._current, None, False, True
        if self._deaf or exchange is None:
            return
        if self._body:
            exchange.body, self._body = self._body, b""
        self._deaf = not exchange.keep_alive
        if self._taking:
            self._pending.append(exchange)
            self._handle(exchange)
        else:
            self._held.append(exchange)

    # What exchanges and the server call

    def take(self, size: int) -> None:
        """Count so many bytes of bodies more, or less."""
        self._taken += size
        self._intake.held += size

    def turn_away(self) -> None:
        """Say that there are too many connections, and hear nothing of this peer."""
        self._refuse(503, "this server has as many connections as it takes; try again", AGAIN)

    def flush(self, exchange: Exchange) -> None:
        """Send what is answered and next in order."""
        pending = self._pending
        if not pending or pending[0] is not exchange:
            return
        while pending and (reply := pending[0].reply) is not None:
            done = pending.popleft()
            self._transport.write(reply)
            if not done.keep_alive:
                self._end()
                return
        self._since = 0.0
        if not self._reading:
            self._hand_over()
            self._pace()
        if pending or self._held:
            return
        current = self._current
        if current is not None and current.continue_due:
            self._continue(current)
        elif self.draining and current is None:
            self._transport.close()

    def is_last(self, exchange: Exchange) -> bool:
        """Whether nothing that came after it is to be answered."""
        return self._current is None and not self._held and (not self._pending or self._pending[-1] is exchange)

    def sweep(self, now: float) -> None:
        """Look whether anything has taken too long; called once in a while with the time."""
        limits = self._limits
        unsent, before = self._transport.get_write_buffer_size(), self._unsent
        self._unsent = unsent
        if not unsent or unsent < before or not before:
            self._unsent_since = now
        elif now - self._unsent_since >= limits.unread_s:
            self._transport.abort()
            return
        if not self._since:
            self._since = now
            return
        took = now - self._since
        if self._current is not None:
            if self._reading:
                self._sweep_incoming(took)
        elif self._lingering:
            if took >= limits.linger_s and not unsent:
                self._transport.abort()
        elif not self._pending and took >= limits.idle_s:
            self._transport.close()

    def drain(self) -> None:
        """Answer what came, and close."""
        self.draining = True
        if not self._pending and not self._held and self._current is None and not self._deaf:
            self._transport.close()

    def abort(self) -> None:
        """Close now."""
        self._transport.abort()

    # How

    @property
    def _taking(self) -> bool:
        """Whether one more request may be under way."""
        return not self._blocked and not self._held and len(self._pending) < self._limits.pipelined

    def _feed(self, data: bytes) -> None:
        rest: bytes | memoryview = data
        while rest:
            try:
                self._parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                # Another protocol was offered; a server may go on as if it had not been (RFC 9110, section 7.8).
                rest = memoryview(rest)[upgrade.args[0] :]
            else:
                return

    def _hand_over(self) -> None:
        """Have requests that were held handled, as many as may be under way."""
        if self._handing:
            return  # by whoever has it handle the one that is being answered
        self._handing = True
        held, pending = self._held, self._pending
        while held and not self._blocked and len(pending) < self._limits.pipelined:
            exchange = held.popleft()
            pending.append(exchange)
            if exchange.answered:
                self.flush(exchange)
            else:
                self._handle(exchange)
        self._handing = False

    def _sweep_incoming(self, took: float) -> None:
        limits = self._limits
        if self._in_body and took >= limits.body_s:
            self._refuse(408, f"the body did not arrive within {limits.body_s:g} s")
        elif not self._in_body and took >= limits.head_s:
            self._refuse(408, f"the request line and headers did not arrive within {limits.head_s:g} s")

    def _too_large(self) -> None:
        most = self._limits.body_bytes
        self._refuse(413, f"the body is larger than {most} bytes; send fewer rows, or have the limit raised")

    def _too_many(self) -> None:
        self._refuse(503, f"more than {self._intake.most} bytes of bodies are under way; try again", AGAIN)

    def _continue(self, exchange: Exchange) -> None:
        exchange.continue_due = False
        self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _refuse(self, status: int, message: str, headers: Headers = ()) -> None:
        """Answer what is coming in, after the answers before it, and hear no more of this peer."""
        exchange = self._current or Exchange(self)
        exchange.keep_alive = False
        self.take(-len(self._body))
        self._current, self._deaf, self._lingering, self._body = None, True, True, b""
        (self._held or self._pending).append(exchange)
        exchange.answer(status, dumps({"error": message}), JSON, headers)

    def _end(self) -> None:
        """Nothing more will be sent."""
        self._deaf = True
        self._since = 0.0
        self._pending.clear()
        self._held.clear()
        if self._lingering and self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _pace(self) -> None:
        """Read or do not, as what is under way allows."""
        reading = self._taking
        if reading != self._reading and not self._transport.is_closing():
            self._reading = reading
            (self._transport.resume_reading if reading else self._transport.pause_reading)()
