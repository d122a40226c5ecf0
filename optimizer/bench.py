"""One tier under measurement: runs placements one at a time and times each as the gateway sees it; keeps nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from optimizer.backend import Backend, Invocation, Reply
from optimizer.evaluation import Evaluation
from registry.model import Placement, Variant

PATIENCE_S = 120.0
"""The deadline of a measuring run: far above any tier's timeout, which binds first."""


@dataclass(frozen=True, slots=True)
class Timed:
    """A run and how long the caller of the backend waited for it."""

    ms: float
    reply: Reply


class Bench:
    """Runs placements of one backend with held-out rows as inputs."""

    def __init__(self, backend: Backend, evaluation: Evaluation, clock: Callable[[], float]) -> None:
        self.backend = backend
        self._evaluation = evaluation
        self._clock = clock
        self._serial = itertools.count()
        self._next_row = 0

    async def run(self, placement: Placement, variant: Variant, rows: int) -> Timed:
        """One run of `rows` rows, other ones each time; raises what the backend raises."""
        inputs = self._evaluation.batch(rows, self._next_row)
        self._next_row = (self._next_row + rows) % self._evaluation.rows
        started = self._clock()
        reply = await self.backend.invoke(
            Invocation(f"measure-{next(self._serial)}", placement, variant, inputs, started + PATIENCE_S)
        )
        return Timed((self._clock() - started) * 1e3, reply)

    async def forget(self) -> None:
        """Stop every environment, so that the next run starts one and loads what it needs."""
        await self.backend.release(0)

    def now(self) -> float:
        """The backend's clock, in seconds."""
        return self._clock()
