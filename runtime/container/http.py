"""Exchanges to handlers and faults to answers; knows neither what handlers do nor how bytes travel."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runtime.codecs.text import dumps
from runtime.container.errors import UNFORESEEN, foreseen, message, retry_after, told
from runtime.container.exchange import JSON, Exchange, Headers
from runtime.container.router import Route, Router
from runtime.errors import Expired, UnknownEncoding, WrongMethod

if TYPE_CHECKING:
    from registry.tracing import OpenSpan

log = logging.getLogger(__name__)

Check = Callable[[Mapping[bytes, bytes]], None]
Begin = Callable[[Exchange], "OpenSpan | None"]


class Http:
    """The handler of a server's connections."""

    def __init__(
        self, routes: Sequence[Route], *, check: Check = lambda headers: None, begin: Begin | None = None
    ) -> None:
        """`check` sees each request's headers, and raises for what is not to be handled; `begin` begins its span."""
        self._router = Router(routes)
        self._check = check
        self._begin = begin
        self._tasks: set[asyncio.Future[Any]] = set()

    def __call__(self, exchange: Exchange) -> None:
        """Have a request handled; whatever comes of it is answered."""
        if self._begin is not None:
            exchange.span = self._begin(exchange)
        try:
            self._check(exchange.headers)
            handler, names = self._router.find(exchange.method, exchange.path)
            _check_encoding(exchange.headers)
            later = handler(exchange, names)
        except Exception as fault:  # noqa: BLE001 - the outermost handler
            refuse(exchange, fault)
            return
        if later is not None:
            assert isinstance(later, Awaitable)
            task = asyncio.ensure_future(_finish(exchange, later))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait for what is still being handled."""
        if self._tasks:
            await asyncio.wait(list(self._tasks))


async def _finish(exchange: Exchange, later: Awaitable[object]) -> None:
    try:
        await later
    except Exception as fault:  # noqa: BLE001 - the outermost handler
        refuse(exchange, fault)


def _check_encoding(headers: Mapping[bytes, bytes]) -> None:
    encoding = headers.get(b"content-encoding", b"identity")
    if encoding.lower() != b"identity":
        raise UnknownEncoding(f"the body's content-encoding is {encoding[:40].decode('latin-1')}; send it as it is")


def reply(exchange: Exchange, document: Mapping[str, Any] | Sequence[Any], status: int = 200) -> None:
    """Answer with a JSON document."""
    exchange.answer(status, dumps(document))


def refuse(exchange: Exchange, fault: Exception) -> None:
    """Answer with what went wrong."""
    status = told(fault).status
    # A deadline that passed is no failure of the server's, and an overload has thousands a second.
    if status >= UNFORESEEN.status and not isinstance(fault, Expired):
        trace = None if foreseen(fault) else fault
        name = type(fault).__name__
        log.warning("%s %s: %s: %s", exchange.method.decode(), exchange.path[:200], name, fault, exc_info=trace)
    if exchange.span is not None:
        exchange.span.note(**{"error.type": type(fault).__name__})
    document: dict[str, Any] = {"error": message(fault), "type": type(fault).__name__}
    headers: Headers = ()
    seconds = retry_after(fault)
    if seconds is not None:
        headers = [(b"retry-after", b"%d" % seconds)]
        document["retry_after_s"] = round(getattr(fault, "retry_after_s", seconds), 4)
    elif isinstance(fault, WrongMethod):
        headers = [(b"allow", ", ".join(fault.allowed).encode("ascii"))]
    if not exchange.answered:
        exchange.answer(status, dumps(document), JSON, headers)
