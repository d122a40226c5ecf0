"""Who of a batch runs side by side, and who alone after them; it runs nothing itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager


class Turns:
    """The runs of one environment, whose batches come one after the other; for one loop.

    Whoever runs together with others begins at once, as all of a batch do; who is to be alone waits until they have
    ended, and those that came before it to be alone.
    """

    def __init__(self) -> None:
        self._together = 0
        self._none = asyncio.Event()
        self._none.set()
        self._one = asyncio.Lock()

    @contextmanager
    def together(self) -> Iterator[None]:
        """While the block lasts nobody is alone who was not before."""
        self._together += 1
        self._none.clear()
        try:
            yield
        finally:
            self._together -= 1
            if not self._together:
                self._none.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """The block begins once nobody else runs."""
        async with self._one:
            await self._none.wait()
            yield
