"""Reads what is left of a body before a connection is closed on it; never looks at what it reads.

Whoever closes a connection on bytes that it has not read resets it, and the answer is lost on its way (RFC 9112,
section 9.6). Where a connection stays open, the server reads on by itself.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINGER_S = 5.0
"""Longest that an answer waits for a body that nobody wants."""


class Lingering:
    """An application whose answers come after the whole body, where they are the last ones of their connection."""

    def __init__(self, app: ASGIApp, *, most: int, linger_s: float = LINGER_S) -> None:
        """`most` bytes are read; whoever sends more has no right to an answer."""
        self._app, self._most, self._linger_s = app, most, linger_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or not _closes(scope):
            await self._app(scope, receive, send)
            return
        more = True

        async def watched() -> Message:
            nonlocal more
            message = await receive()
            more = message.get("more_body", False)
            return message

        async def last(message: Message) -> None:
            if message["type"] == "http.response.start" and more:
                await self._drain(watched)
            await send(message)

        await self._app(scope, watched, last)

    async def _drain(self, receive: Receive) -> None:
        size = 0
        try:
            async with asyncio.timeout(self._linger_s):
                while size <= self._most:
                    message = await receive()
                    size += len(message.get("body", b""))
                    if not message.get("more_body", False):
                        return
        except TimeoutError:
            return


def _closes(scope: Scope) -> bool:
    """Whether the request is its connection's last, and its body on its way without being asked for."""
    last, asks = scope.get("http_version") == "1.0", False
    for name, value in scope["headers"]:
        if name == b"connection":
            last = b"close" in value.lower() or (last and b"keep-alive" not in value.lower())
        asks = asks or name == b"expect"
    return last and not asks
