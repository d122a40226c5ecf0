"""One HTTP/1.1 response after another, fed as they arrive (RFC 9112); bytes in, facts out, it does no I/O."""

from __future__ import annotations

MOST_HEAD = 65536
"""Bytes after which a head, or a chunk's size, without an end is no HTTP."""

HEX = frozenset(b"0123456789abcdefABCDEF")

_UNKNOWN, _CHUNKED, _TO_THE_END = -1, -2, -3
"""What stands for a body's length before the head is read, and where the head tells it otherwise."""


class Malformed(Exception):
    """What came is no HTTP/1.1 response."""


class Response:
    """The response to the one request in flight on a connection; not for HEAD, whose answers have no body."""

    __slots__ = ("_head", "_held", "_length", "_parts", "_read", "_seen", "_start", "keep", "status")

    def __init__(self) -> None:
        self.status = 0
        """HTTP status; only of use once the response is whole."""
        self.keep = True
        """Whether the connection can carry another request; only of use once the response is whole."""
        self._seen: bytes | bytearray = b""
        self._held: bytearray | None = None
        self._parts: list[bytes] = []
        # The last head and what it said: a server's heads change by the second, with the date.
        self._head = b""
        self._read = (0, True, _UNKNOWN)
        self.begin()

    def begin(self) -> None:
        """Forget the last response and await the next."""
        self._length = _UNKNOWN
        # Where the head begins, then where the body does, then where the next chunk does.
        self._start = 0
        self._held = None

    def feed(self, data: bytes) -> bool:
        """Take what arrived; true once the response is whole. Raises Malformed."""
        # Nearly every response comes in one piece, which is never copied.
        if self._held is None:
            self._seen = data
        else:
            self._held += data
            self._seen = self._held
        if self._length == _UNKNOWN and not self._read_head():
            whole = False
        elif self._length >= 0:
            whole = self._reaches(self._start + self._length)
        else:
            whole = self._length == _CHUNKED and self._read_chunks()
        if not whole and self._held is None:
            self._seen = self._held = bytearray(data)
        return whole

    def ended(self) -> bool:
        """Whether the end of the connection makes the response whole."""
        return self._length == _TO_THE_END

    def body(self) -> bytes:
        """The body of a whole response."""
        if self._length == _CHUNKED:
            return b"".join(self._parts)
        stop = len(self._seen) if self._length == _TO_THE_END else self._start + self._length
        return bytes(self._seen[self._start : stop])

    def _reaches(self, stop: int) -> bool:
        """Whether all is here up to `stop`, where the response ends; what follows was not asked for."""
        beyond = len(self._seen) - stop
        if beyond > 0:
            self.keep = False
        return beyond >= 0

    def _read_head(self) -> bool:
        """Read the head once it is here, past interim ones (1xx); true if it was."""
        seen = self._seen
        while (end := seen.find(b"\r\n\r\n", self._start)) >= 0:
            # With one CRLF at its end, so that every field ends with one.
            head = bytes(seen[self._start : end + 2])
            self._start = end + 4
            if head != self._head:
                self._head, self._read = head, _facts(head.lower())
            self.status, self.keep, length = self._read
            if self.status >= 200:
                self._length = length
                if length == _CHUNKED:
                    self._parts = []
                return True
        if len(seen) - self._start > MOST_HEAD:
            raise Malformed("a head without an end")
        return False

    def _read_chunks(self) -> bool:
        seen = self._seen
        while (end := seen.find(b"\r\n", self._start)) >= 0:
            size = _chunk_size(bytes(seen[self._start : end]))
            if not size:
                # Without trailers, the CRLF of the size and the last one stand side by side.
                last = seen.find(b"\r\n\r\n", end)
                return last >= 0 and self._reaches(last + 4)
            stop = end + 2 + size
            if len(seen) < stop + 2:
                return False
            if seen[stop : stop + 2] != b"\r\n":
                raise Malformed("a chunk is longer than it says")
            self._parts.append(bytes(seen[end + 2 : stop]))
            self._start = stop + 2
        if len(seen) - self._start > MOST_HEAD:
            raise Malformed("a chunk's size without an end")
        return False


def _facts(head: bytes) -> tuple[int, bool, int]:
    """(status, whether the connection can carry another request, length of the body or what stands for it)."""
    status = _status(head)
    connection = _field(head, b"\r\nconnection:")
    keep = b"keep-alive" in connection if head.startswith(b"http/1.0") else b"close" not in connection
    if status < 200 or status in (204, 304):
        return status, keep, 0
    if coding := _field(head, b"\r\ntransfer-encoding:"):
        return (status, keep, _CHUNKED) if coding.endswith(b"chunked") else (status, False, _TO_THE_END)
    if length := _field(head, b"\r\ncontent-length:"):
        return status, keep, _decimal(length)
    return status, False, _TO_THE_END


def _status(head: bytes) -> int:
    if not head.startswith((b"http/1.1 ", b"http/1.0 ")) or not head[9:12].isdigit():
        raise Malformed(f"no status line: {head[:40]!r}")
    return int(head[9:12])


def _field(head: bytes, name: bytes) -> bytes:
    """A field's value, empty where there is none; `name` has the CRLF before it, and the colon."""
    at = head.find(name)
    if at < 0:
        return b""
    start = at + len(name)
    return head[start : head.index(b"\r\n", start)].strip()


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 18:
        raise Malformed(f"no length: {text[:40]!r}")
    return int(text)


def _chunk_size(line: bytes) -> int:
    """The size that begins a chunk's first line, before its extensions."""
    text = line.partition(b";")[0].strip()
    if not text or len(text) > 15 or not HEX.issuperset(text):
        raise Malformed(f"no size of a chunk: {line[:40]!r}")
    return int(text, 16)
