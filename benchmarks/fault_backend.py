"""Faults that are switched on and off around any backend; it never changes what it wraps, which does not know of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gateway.backends.protocol import Backend, Invocation, Reply, TierStatus
from registry.model import Placement, Variant

Fault = Callable[[Invocation], Awaitable[None]]
"""Raises a BackendError, or takes its time, for an invocation."""


async def no_fault(invocation: Invocation) -> None:
    """Nothing happens."""


class Faulty:
    """A Backend that asks `before` each run and `after` it; what either raises is what the caller gets.

    A fault `before` stands for a call that never arrived, one `after` for an answer that was lost on its way.
    """

    def __init__(self, inner: Backend) -> None:
        self.tier = inner.tier
        self.inner = inner
        self.before: Fault = no_fault
        self.after: Fault = no_fault
        self.runs = 0
        """Runs that reached the backend."""

    def heal(self) -> None:
        """No fault from now on."""
        self.before = self.after = no_fault

    async def prepare(self) -> None:
        """See Backend."""
        await self.inner.prepare()

    async def invoke(self, invocation: Invocation) -> Reply:
        """See Backend; with the faults."""
        await self.before(invocation)
        self.runs += 1
        reply = await self.inner.invoke(invocation)
        await self.after(invocation)
        return reply

    def status(self) -> TierStatus:
        """See Backend."""
        return self.inner.status()

    async def ensure(self, placement: Placement, variant: Variant, copies: int, *, for_s: float = 0.0) -> None:
        """See Backend."""
        await self.inner.ensure(placement, variant, copies, for_s=for_s)

    async def release(self, copies: int = 0) -> None:
        """See Backend."""
        await self.inner.release(copies)

    async def close(self) -> None:
        """See Backend."""
        await self.inner.close()
