"""One tier under measurement: runs placements one at a time and times each as the gateway sees it; keeps nothing."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from optimizer.backend import Backend, Invocation, Reply, Tensors, peak_mb
from optimizer.evaluation import Evaluation
from registry.model import Placement, Variant

PATIENCE_S = 120.0
"""The deadline of a measuring run: far above any tier's timeout, which binds first."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run: how long the caller of the backend waited for it, and what the backend said of it."""

    ms: float
    cold: bool
    loaded: bool
    load_ms: float
    billed_ms: float
    peak_mb: float | None = None
    """Most memory that its environment has held so far; None where that is not told."""


class Bench:
    """Runs placements of one backend with held-out rows as inputs."""

    def __init__(self, backend: Backend, evaluation: Evaluation, clock: Callable[[], float]) -> None:
        self.backend = backend
        self._evaluation = evaluation
        self._clock = clock
        self._serial = itertools.count()
        self._next_row = 0

    @cached_property
    def inputs(self) -> str:
        """A digest of the rows that are run: other inputs may take other times."""
        return _digest(self._evaluation.inputs)

    async def run(self, placement: Placement, variant: Variant, rows: int) -> Run:
        """One run of `rows` rows, other ones each time; raises what the backend raises."""
        run, _ = await self._timed(placement, variant, rows)
        return run

    async def forget(self) -> None:
        """Stop every environment, so that the next run starts one and loads what it needs."""
        await self.backend.release(0)

    async def _timed(self, placement: Placement, variant: Variant, rows: int) -> tuple[Run, Reply]:
        inputs = self._evaluation.batch(rows, self._next_row)
        self._next_row = (self._next_row + rows) % self._evaluation.rows
        started = self._clock()
        reply = await self.backend.invoke(
            Invocation(f"measure-{next(self._serial)}", placement, variant, inputs, started + PATIENCE_S)
        )
        ms = (self._clock() - started) * 1e3
        return Run(ms, reply.cold, reply.loaded, reply.load_ms, reply.billed_ms, peak_mb(reply)), reply


def _digest(inputs: Tensors) -> str:
    hasher = hashlib.blake2b(digest_size=10)
    for name, array in sorted(inputs.items()):
        hasher.update(f"{name} {array.dtype} {array.shape}\n".encode())
        # Strings are objects, which have no bytes of their own.
        data = repr(array.tolist()).encode() if array.dtype.hasobject else array.tobytes()
        hasher.update(data)
    return hasher.hexdigest()
