"""Where a request's time went, for whoever traces: a seam of a few methods, which costs nothing while nobody does.

Attributes are names, ids and figures, never inputs, outputs or messages.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol

Value = str | int | float | bool


class Span(Protocol):
    """A part of a request that is under way."""

    def note(self, **attributes: Value) -> None:
        """Say more of it, before it ends."""


class Tracer(Protocol):
    """Records spans, each inside the one that is under way where it begins."""

    def span(self, name: str, **attributes: Value) -> AbstractContextManager[Span]:
        """A span for as long as its block; one that raises has failed."""

    def continued(self, traceparent: str | None) -> AbstractContextManager[object]:
        """The caller's trace goes on in the block, if its W3C `traceparent` is one; else a trace of its own begins."""

    def traceparent(self) -> str:
        """What has others go on with the trace, as W3C has it; empty when there is none."""


class OpenSpan(Span, Protocol):
    """A span that ends when it is told to, wherever that is."""

    def end(self, *, failed: bool = False) -> None:
        """It is over, now."""


class RequestTracer(Protocol):
    """Records what begins in one call and ends in another, as a server's requests do that no coroutine waits for."""

    def begin(self, name: str, traceparent: str | None, **attributes: Value) -> OpenSpan:
        """A span of the caller's trace, if its W3C `traceparent` is one; else of a trace of its own."""


class _Nothing:
    """A span, and a block, that nobody records."""

    __slots__ = ()

    def __enter__(self) -> _Nothing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def note(self, **attributes: Value) -> None:
        """Nobody listens."""


_NOTHING = _Nothing()


class Untraced:
    """A Tracer that records nothing."""

    def span(self, name: str, **attributes: Value) -> AbstractContextManager[Span]:
        """See Tracer."""
        return _NOTHING

    def continued(self, traceparent: str | None) -> AbstractContextManager[object]:
        """See Tracer."""
        return _NOTHING

    def traceparent(self) -> str:
        """See Tracer."""
        return ""


UNTRACED: Tracer = Untraced()
