"""One HTTP/1.1 connection that bounds what comes before a request; it never looks at what a request says.

uvicorn's own keeps a head of any length in memory for as long as its sender likes.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from runtime.codecs.text import dumps

HEAD_LIMIT = 64 * 1024
"""Bytes of request line and headers, as uvicorn's other parser has it (`h11_max_incomplete_event_size`)."""

HEAD_S = 60.0
"""Longest from a connection, or from the first byte of a later request, to the end of its headers: as nginx has it."""


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with an end to every head, and with refusals in this platform's form."""

    head_limit = HEAD_LIMIT
    head_s = HEAD_S

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._in_head = True
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self.head_s, self._too_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_timer()
        super().connection_lost(exc)
        # uvicorn cancels it only after a polite end; after a reset it would hold all of this as long as a timer runs.
        self._unset_keepalive_if_required()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head ends."""
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Take in bytes; a head that is still not whole has them counted."""
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > self.head_limit:
            self._refuse(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                "too_large",
                f"the request line and headers are over {self.head_limit} bytes; send less of them",
            )
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_s, self._too_late)

    def send_400_response(self, msg: str) -> None:
        """What uvicorn answers to bytes that are no HTTP."""
        self._refuse(HTTPStatus.BAD_REQUEST, "bad_request", "this is not an HTTP/1.1 request; see /docs")

    def _too_late(self) -> None:
        self._head_timer = None
        if self.cycle is not None and not self.cycle.response_complete:
            # A pipelined head waits for the answer before it, as uvicorn stops reading meanwhile.
            self._head_timer = self.loop.call_later(self.head_s, self._too_late)
        elif self._head_bytes:
            message = f"the request line and headers did not arrive within {self.head_s:g} s"
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "too_slow", message)
        else:
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: HTTPStatus, code: str, message: str) -> None:
        body = dumps({"error": {"code": code, "message": message}})
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()
