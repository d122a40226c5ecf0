"""One invocation of a function: what it is told, and what came of it; it knows no environment."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.errors import BackendError


@dataclass(frozen=True, slots=True)
class FunctionError:
    """What a handler raised, as the runtime client reports it."""

    kind: str
    """The exception's class name."""
    message: str
    stack: tuple[str, ...] = ()


def parse_error(body: bytes, kind: str) -> FunctionError:
    """The runtime client's error document; `kind` is its header, for a body that cannot be read."""
    try:
        document: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        return FunctionError(kind or "Unknown", body[:500].decode("utf-8", "replace"))
    stack = document.get("stackTrace") or ()
    return FunctionError(
        str(document.get("errorType") or kind or "Unknown"),
        str(document.get("errorMessage") or ""),
        tuple(str(line) for line in stack) if isinstance(stack, list) else (),
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """What one invocation gave; milliseconds throughout."""

    payload: bytes
    error: FunctionError | None
    environment: str
    cold: bool
    """An environment was started for this invocation."""
    init_ms: float
    """Start to first `next` of that environment; 0 unless cold."""
    duration_ms: float
    """From sending the event to its response."""
    peak_mb: float
    """Largest resident set of the process so far."""
    wait_ms: float = 0.0
    """In the queue, before the event was sent."""

    @property
    def billed_ms(self) -> float:
        """The duration as Lambda bills it: rounded up to a whole millisecond."""
        return float(math.ceil(self.duration_ms))


Observe = Callable[[Answer], frozenset[str] | None]
"""Reads an answer the moment it is there, before the environment is free: what is resident now, or None if unsaid."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a function is told of an invocation besides its event."""

    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    """The request id."""
    arn: str | None = None
    """The function as its caller named it; None: by its own name."""
    trace: str | None = None
    """X-Ray's header; None: one that is not sampled."""


@dataclass(slots=True, eq=False)
class Job:
    """One invocation on its way; its future is settled exactly once, by whoever comes first."""

    payload: bytes
    future: asyncio.Future[Answer]
    want: str | None = None
    observe: Observe | None = None
    cold: bool = False
    queued_at: float | None = None
    """When it was put in the queue; None for one that was not."""
    call: Call = field(default_factory=Call)

    @property
    def id(self) -> str:
        """The request id."""
        return self.call.id

    def fail(self, error: BackendError) -> None:
        """Settle with an error unless settled (or the caller has gone)."""
        if not self.future.done():
            self.future.set_exception(error)

    def succeed(self, answer: Answer) -> None:
        """Settle with an answer unless settled (or the caller has gone)."""
        if not self.future.done():
            self.future.set_result(answer)
