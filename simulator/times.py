"""How long starts, loads and runs take: drawn from what was measured, by inverse transform, with one seeded generator.

A batch size between two measured ones has their quantiles interpolated, as `scheduler.table` does; between two levels a
quantile function is linear, and flat beyond the first and the last (nothing was measured there).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

import numpy as np

from registry.catalogue import Catalogue
from registry.model import LEVELS
from scheduler.table import Batch, table_of

DRAWN = 4096
"""Uniforms drawn at once: one call of the generator costs as much as reading fifty."""

_FIRST, _LAST = LEVELS[0], LEVELS[-1]


class Service:
    """How long one placement's runs of one batch size take, variant resident."""

    __slots__ = ("billed", "ms")

    def __init__(self, ms: Sequence[float], billed: float) -> None:
        self.ms = tuple(ms)
        """At each of LEVELS."""
        self.billed = billed
        """The part of its time that the tier bills."""


class Times:
    """Draws for one catalogue; placements that were never measured have none (KeyError)."""

    def __init__(self, catalogue: Catalogue, random: np.random.Generator) -> None:
        self._catalogue = catalogue
        self._uniforms = _uniforms(random)
        self._services: dict[tuple[str, int], Service] = {}

    def uniform(self) -> float:
        """The next draw from [0, 1)."""
        return next(self._uniforms)

    def run_ms(self, placement: str, rows: int) -> tuple[float, float]:
        """Milliseconds of one run, and of those the billed ones; raises KeyError for what was never measured."""
        service = self._services.get((placement, rows))
        if service is None:
            service = self._services[placement, rows] = self._service(placement, rows)
        ms = service.ms
        drawn = ms[0] if ms[0] == ms[-1] else quantile(ms, next(self._uniforms))
        return drawn, drawn * service.billed

    def load_ms(self, placement: str) -> float:
        """Milliseconds of one load."""
        return quantile(self._catalogue.profiles[placement].load.ms, next(self._uniforms))

    def init_ms(self, placement: str) -> float:
        """Milliseconds of one start of an environment, without the load."""
        return quantile(self._catalogue.profiles[placement].init.ms, next(self._uniforms))

    def _service(self, placement: str, rows: int) -> Service:
        profile = self._catalogue.profiles[placement]
        table = table_of(self._catalogue, self._catalogue.placements[placement].task)
        i = table.layout.number[placement] - table.span.start
        batch: Batch = table.batch(rows)
        alone = next((s for s in profile.service if s.rows >= rows), profile.service[-1])
        # What was billed is in whole steps, half a step more than it took on average; and it is rounded up once more.
        step_ms = self._catalogue.tiers[self._catalogue.placements[placement].tier].price.step_ms
        took_ms = max(0.0, alone.billed_ms - step_ms / 2)
        billed = min(1.0, took_ms / alone.latency.mean) if alone.latency.mean > 0 else 1.0
        return Service(batch.grid[:, i].tolist(), billed)


def quantile(ms: Sequence[float], level: float) -> float:
    """The value at a level of a distribution that is known at LEVELS."""
    if level <= _FIRST:
        return ms[0]
    if level >= _LAST:
        return ms[-1]
    high = bisect_left(LEVELS, level)
    low = high - 1
    share = (level - LEVELS[low]) / (LEVELS[high] - LEVELS[low])
    return ms[low] + (ms[high] - ms[low]) * share


def _uniforms(random: np.random.Generator) -> Iterator[float]:
    while True:
        yield from random.random(DRAWN).tolist()
