"""Counts per minute as requests of applications at points in time; seeded, and it replays nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from simulator.arrivals import Floats
from simulator.traces import Ints, PerMinute

Placed = Literal["minute", "uniform"]
"""Where in its minute a request is: at the end of it, or anywhere."""


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Requests in the order of their time, and of the applications where it is the same."""

    applications: tuple[str, ...]
    """Those that are asked for at all."""
    times: Floats
    """In minutes from the start."""
    places: Ints
    """(requests,), which of `applications`."""
    end: float
    """The last minute."""

    def __iter__(self) -> Iterator[tuple[float, str]]:
        """Time and application of each request."""
        for time, place in zip(self.times.tolist(), self.places.tolist(), strict=True):
            yield time, self.applications[place]


def one_a_minute(counted: PerMinute, placed: Placed, *, seed: int = 0) -> Trace:
    """Every active minute of an application as one request of it: minute k is (k - 1, k], and the first is 1.

    What else is asked for in the same minute finds it warm, whatever the policy.
    """
    asked = counted.counts > 0
    kept = np.flatnonzero(asked.any(axis=1))
    places, minutes = np.nonzero(asked[kept])
    times = minutes.astype(np.float64) + 1.0
    if placed == "uniform":
        times -= np.random.default_rng(seed).random(len(times))
    order = np.lexsort((places, times))
    names = tuple(counted.names[place] for place in kept)
    return Trace(names, times[order], places[order].astype(np.int64), float(counted.counts.shape[1]))
