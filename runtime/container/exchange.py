"""One request and the way back to whoever sent it: answered once, whenever that is; reads and sends nothing itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from http import HTTPStatus

from registry.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from registry.tracing import OpenSpan
    from runtime.container.connection import Connection

JSON = b"application/json"
BINARY = b"application/octet-stream"

REASONS = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}

Headers = Iterable[tuple[bytes, bytes]]

_URL = re.compile(rb"https?://([^/?]+)(.*)", re.IGNORECASE | re.DOTALL)


class Exchange:
    """One request, and the way back to whoever sent it."""

    __slots__ = (
        "_connection",
        "body",
        "cancel",
        "continue_due",
        "headers",
        "keep_alive",
        "method",
        "old",
        "path",
        "reply",
        "span",
    )

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.reply: bytes | None = None
        """What is sent when its turn comes; None until it is answered."""
        self.method = b""
        self.path = b""
        """With the query, as it came."""
        self.headers: dict[bytes, bytes] = {}
        """By lower-case name; of those that came twice the last."""
        self.body: bytes | bytearray = b""
        self.cancel: Callable[[], None] | None = None
        """Called when the peer has left before the answer."""
        self.keep_alive = True
        self.old = False
        """HTTP/1.0, and yet it wants to go on."""
        self.continue_due = False
        self.span: OpenSpan | None = None
        """Where the request is traced; it ends with the answer, or when the peer has left."""

    @property
    def answered(self) -> bool:
        """Whether the answer is given."""
        return self.reply is not None

    def answer(self, status: int, body: bytes, content_type: bytes = JSON, headers: Headers = ()) -> None:
        """Answer, once; it is sent after the answers to the requests before. Nothing happens once the peer has left."""
        connection = self._connection
        if status == 200 and not headers and self.keep_alive and not self.old and not connection.draining:
            head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (content_type, len(body))
        else:
            head = self._head(status, len(body), content_type, headers)
        self.reply = head if self.method == b"HEAD" else head + body
        self.cancel = None
        if self.span is not None:
            self.span.note(status=status)
            self.end_span(failed=status >= 500)
        if self.body:
            connection.take(-len(self.body))
            self.body = b""
        connection.flush(self)

    def abandon(self) -> None:
        """Its peer has left: what is under way for it need not go on."""
        cancel, self.cancel = self.cancel, None
        if cancel is not None:
            cancel()
        if self.span is not None:
            self.span.note(**{"error.type": "Cancelled"})
            self.end_span(failed=True)

    def take_origin_form(self) -> None:
        """Have a target that is a whole URL, as proxies are sent it, be its path; its host counts (RFC 9112, 3.2.2)."""
        url = _URL.fullmatch(self.path)
        if url is not None:
            self.headers[b"host"] = url[1]
            self.path = url[2] if url[2].startswith(b"/") else b"/" + url[2]

    def end_span(self, *, failed: bool) -> None:
        """Nothing more is said of the request."""
        span, self.span = self.span, None
        if span is not None:
            span.end(failed=failed)

    def _head(self, status: int, length: int, content_type: bytes, headers: Headers) -> bytes:
        self.keep_alive = self.keep_alive and not (self._connection.draining and self._connection.is_last(self))
        lines = [b"HTTP/1.1 %d %b" % (status, REASONS.get(status, b"Error"))]
        if length:
            lines.append(b"content-type: " + content_type)
        lines.append(b"content-length: %d" % length)
        lines += (b"%b: %b" % header for header in headers)
        if not self.keep_alive:
            lines.append(b"connection: close")
        elif self.old:
            lines.append(b"connection: keep-alive")
        return b"\r\n".join((*lines, b"", b""))
