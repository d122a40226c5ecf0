"""The Lambda Runtime API (2018-06-01) on one connection of one environment; it never decides what runs.

An incremental HTTP/1.1 reader in front of a Host: the runtime client sends head and body in separate segments, asks
for work with `next` and gets its answer when there is some. What is refused, and with which words, follows AWS's
Runtime Interface Emulator.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol, cast

PAYLOAD_LIMIT = 6 * 1024 * 1024 + 100
"""Most bytes of an event or response: Lambda's 6 MB of synchronous payload, exactly 6,291,556."""

HEAD_LIMIT = 2 * 1024 * 1024
"""Most bytes of a request's head: the runtime client sends up to 1 MB of X-Ray cause as a header."""

_JSON = "Content-Type: application/json\r\n"
_ROUTE = re.compile(
    r"^/2018-06-01/runtime/(?:invocation/(?:(?P<next>next)|(?P<id>[^/]+)/(?P<post>response|error))"
    r"|(?P<phase>init|restore)/(?P<step>next|error))$"
)


def _plain(status: str, body: str) -> bytes:
    return f"HTTP/1.1 {status}\r\n{_JSON}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def _refusal(status: str, kind: str, message: str) -> bytes:
    return _plain(status, f'{{"errorMessage":"{message}","errorType":"{kind}"}}')


class Verdict(Enum):
    """What the Host says to a posted result; each value is the whole HTTP answer."""

    ACCEPTED = _plain("202 Accepted", '{"status":"OK"}\n')
    INVALID_REQUEST_ID = _refusal("400 Bad Request", "InvalidRequestID", "Invalid request ID")
    INVALID_TRANSITION = _refusal("403 Forbidden", "InvalidStateTransition", "State transition is not allowed")
    TOO_LARGE = _refusal(
        "413 Request Entity Too Large",
        "RequestEntityTooLarge",
        f"Exceeded maximum allowed payload size {PAYLOAD_LIMIT}",
    )
    NOT_FOUND = _refusal("404 Not Found", "NotFound", "No such operation in 2018-06-01")
    BAD_REQUEST = _refusal("400 Bad Request", "InvalidRequest", "Malformed HTTP request")


class Host(Protocol):
    """The environment behind the API: what the runtime client's calls mean."""

    def on_next(self, connection: Connection) -> None:
        """The runtime is idle; the Host answers later with `send_invocation`, or at once with `refuse`."""

    def on_response(self, request_id: str, body: bytes | None) -> Verdict:
        """The handler returned `body` (None when it was over the limit and thrown away)."""

    def on_error(self, request_id: str, body: bytes, kind: str) -> Verdict:
        """The handler raised; `body` is the error as JSON."""

    def on_init_error(self, body: bytes, kind: str) -> Verdict:
        """INIT failed."""

    def on_restore_next(self, connection: Connection) -> None:
        """INIT and the before-snapshot hooks are done; the Host answers with `send_restored` to go on."""

    def on_restore_error(self, body: bytes, kind: str) -> Verdict:
        """An after-restore hook failed."""


class _Phase(Enum):
    HEAD = auto()
    FIXED = auto()
    CHUNK_SIZE = auto()
    CHUNK = auto()
    CHUNK_END = auto()
    TRAILER = auto()


class Connection(asyncio.Protocol):
    """One connection of the runtime client; keeps no more than one request and its body."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._phase = _Phase.HEAD
        self._left = 0
        self._body = bytearray()
        self._oversize = False
        self._method = ""
        self._path = ""
        self._kind = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Turn Nagle's algorithm off: the client waits for each small answer."""
        self._transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the peer; that the process is gone is learnt from the process, not from here."""
        self._transport = None

    def close(self) -> None:
        """Hang up without waiting for anything."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take bytes as they come and act on every request that is complete."""
        self._buffer += data
        while self._transport is not None and self._advance():
            pass

    # ------------------------------------------------------------------ answers

    def send_invocation(self, request_id: str, payload: bytes, *, deadline_ms: int, arn: str, trace: str) -> None:
        """Answer `next` with one event; `deadline_ms` is Unix time."""
        head = (
            f"HTTP/1.1 200 OK\r\n{_JSON}Lambda-Runtime-Aws-Request-Id: {request_id}\r\n"
            f"Lambda-Runtime-Deadline-Ms: {deadline_ms}\r\nLambda-Runtime-Invoked-Function-Arn: {arn}\r\n"
            f"Lambda-Runtime-Trace-Id: {trace}\r\nContent-Length: {len(payload)}\r\n\r\n"
        )
        self._send(head.encode() + payload)

    def send_restored(self) -> None:
        """Answer `restore/next`: the snapshot was taken and this is a restored copy."""
        self._send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def refuse(self, verdict: Verdict) -> None:
        """Answer with a refusal."""
        self._send(verdict.value)

    def _send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    # ------------------------------------------------------------------ reading

    def _advance(self) -> bool:
        """One step of the reader; False when more bytes are needed."""
        match self._phase:
            case _Phase.HEAD:
                return self._read_head()
            case _Phase.FIXED:
                return self._read_data(done=self._dispatch)
            case _Phase.CHUNK_SIZE:
                return self._read_chunk_size()
            case _Phase.CHUNK:
                return self._read_data(done=self._end_chunk)
            case _Phase.CHUNK_END:
                return self._read_chunk_end()
            case _Phase.TRAILER:
                return self._read_trailer()

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > HEAD_LIMIT:
                self._abort()
            return False
        head = self._buffer[:end].decode("latin-1")
        del self._buffer[: end + 4]
        line, _, rest = head.partition("\r\n")
        parts = line.split(" ")
        if len(parts) != 3:
            self._abort()
            return False
        self._method, self._path = parts[0], parts[1]
        self._open_body(_headers(rest))
        return True

    def _open_body(self, headers: dict[str, str]) -> None:
        self._kind = headers.get("lambda-runtime-function-error-type", "")
        self._body = bytearray()
        self._oversize = False
        if headers.get("expect", "").lower() == "100-continue":
            self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding", "").lower() == "chunked":
            self._phase = _Phase.CHUNK_SIZE
            return
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            self._abort()
            return
        self._left, self._phase = int(length), _Phase.FIXED

    def _read_data(self, *, done: Callable[[], None]) -> bool:
        take = min(self._left, len(self._buffer))
        if take:
            if len(self._body) + take > PAYLOAD_LIMIT:
                self._oversize, self._body = True, bytearray()
            elif not self._oversize:
                self._body += self._buffer[:take]
            del self._buffer[:take]
            self._left -= take
        if self._left:
            return False
        done()
        return True

    def _read_chunk_size(self) -> bool:
        line = self._take_line()
        if line is None:
            return False
        try:
            self._left = int(line.split(b";")[0], 16)
        except ValueError:
            self._abort()
            return False
        self._phase = _Phase.CHUNK if self._left else _Phase.TRAILER
        return True

    def _end_chunk(self) -> None:
        self._phase = _Phase.CHUNK_END

    def _read_chunk_end(self) -> bool:
        line = self._take_line()
        if line:
            self._abort()
        if line != b"":
            return False
        self._phase = _Phase.CHUNK_SIZE
        return True

    def _read_trailer(self) -> bool:
        line = self._take_line()
        if line is None:
            return False
        if not line:
            self._dispatch()
        return True

    def _take_line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _abort(self) -> None:
        self.refuse(Verdict.BAD_REQUEST)
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    # ------------------------------------------------------------------ routing

    def _dispatch(self) -> None:
        self._phase = _Phase.HEAD
        route = _ROUTE.match(self._path)
        if route is None:
            self.refuse(Verdict.NOT_FOUND)
        elif self._method == "GET" and route["next"]:
            self._host.on_next(self)
        elif self._method == "GET" and route["phase"] == "restore" and route["step"] == "next":
            self._host.on_restore_next(self)
        elif self._method == "POST" and (route["post"] or route["step"] == "error"):
            self.refuse(self._deliver(route))
        else:
            self.refuse(Verdict.NOT_FOUND)

    def _deliver(self, route: re.Match[str]) -> Verdict:
        body = bytes(self._body)
        self._body = bytearray()
        if route["post"] == "response":
            return self._host.on_response(route["id"], None if self._oversize else body)
        if self._oversize:
            return Verdict.TOO_LARGE
        if route["post"] == "error":
            return self._host.on_error(route["id"], body, self._kind)
        if route["phase"] == "init":
            return self._host.on_init_error(body, self._kind)
        return self._host.on_restore_error(body, self._kind)


def _headers(lines: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in lines.split("\r\n") if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
