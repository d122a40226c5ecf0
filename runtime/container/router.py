"""Method and path to handler; paths may hold names, and a path that is served by other methods says by which."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote, unquote_to_bytes

from runtime.container.exchange import Exchange
from runtime.errors import InvalidBody, UnknownModel, WrongMethod

KEPT, KEPT_BYTES = 1024, 512
"""Routes of paths that were asked for are remembered, up to so many, but for longer paths than so."""

Handler = Callable[[Exchange, Mapping[str, str]], object]
"""Answers an exchange, now or later; where it returns an awaitable, that is awaited. May raise RuntimeFault."""


class Route(NamedTuple):
    """A handler for a method and a pattern, in which {name} is one segment."""

    method: str
    pattern: str
    handler: Handler


class Found(NamedTuple):
    """A handler and the names in the path."""

    handler: Handler
    names: Mapping[str, str]


class Router:
    """A table of routes."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._kept: dict[bytes, dict[bytes, Found]] = {}
        self._table: dict[str, list[tuple[re.Pattern[str], Handler]]] = {}
        for route in routes:
            pattern = re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(route.pattern)))
            self._table.setdefault(route.method, []).append((pattern, route.handler))

    def find(self, method: bytes, path: bytes) -> Found:
        """The handler of a request; raises UnknownModel for a path that is not served, WrongMethod, or InvalidBody."""
        kept = self._kept.get(method)
        if kept is None:
            kept = {}
        found = kept.get(path)
        if found is None:
            found = self._find("GET" if method == b"HEAD" else method.decode("latin-1"), path)
            if len(path) <= KEPT_BYTES:
                if len(kept) >= KEPT:
                    kept.clear()
                kept[path] = found
                self._kept[method] = kept
        return found

    def _find(self, method: str, path: bytes) -> Found:
        text = _text(path.partition(b"?")[0])
        allowed: list[str] = []
        for served, routes in self._table.items():
            for pattern, handler in routes:
                match = pattern.fullmatch(text)
                if match is None:
                    continue
                if served == method:
                    return Found(handler, {name: unquote(value) for name, value in match.groupdict().items()})
                allowed.append(served)
        if allowed:
            raise WrongMethod(f"{text[:200]} is served by {', '.join(sorted(allowed))}", tuple(sorted(allowed)))
        raise UnknownModel(f"nothing is served at {text[:200]}; GET /v2 says what this server is")


def query(path: bytes) -> dict[str, str]:
    """The parameters of a path's query; of those given twice the last."""
    pairs = (pair.partition(b"=") for pair in path.partition(b"?")[2].split(b"&") if pair)
    return {_text(unquote_to_bytes(name)): _text(unquote_to_bytes(value)) for name, _, value in pairs}


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidBody("the path is not UTF-8") from None
