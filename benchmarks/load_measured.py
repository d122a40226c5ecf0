"""What a load run measured, as a value: arrays over requests and what is derived from them; it sends nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.arrivals import Floats

OK = 200


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One load run; every array has one entry for each request, in the order of their intended times.

    Times are seconds from the start of the measured window. A closed loop holds the requests that were answered in
    the window or were in flight at its end; an open loop holds all.
    """

    intended: Floats
    """When the request was due; in a closed loop, when it was sent."""
    sent: Floats
    """When it was written to a connection; infinite where it never was."""
    done: Floats
    """When its answer was whole, or the request was given up."""
    status: NDArray[np.int64]
    """HTTP status; 0 where no whole answer came: timed out, cut off, or never sent."""
    index: NDArray[np.int64]
    """Which of the given requests it was."""
    bodies: Sequence[tuple[int, bytes]]
    """(index, body) of some answers of status 200: the first for every index, and a sample of the others."""
    refused: Mapping[int, bytes]
    """Body of the first answer of every status other than 200."""
    cpu_share: float
    """CPU seconds of the load generator's process per second of wall time: near 1 it measures itself."""
    seconds: float
    """Length of the measured window; an open loop's ends with the last intended time."""

    @property
    def latency_ms(self) -> Floats:
        """From the intended send time to the whole answer; infinite where none came."""
        return np.where(self.status == 0, np.inf, (self.done - self.intended) * 1000)

    @property
    def lag_ms(self) -> Floats:
        """From the intended send time to sending: how far the generator, or its pool of connections, was behind."""
        return (self.sent - self.intended) * 1000

    @property
    def rps(self) -> float:
        """Answers of status 200 that came within the window, per second of it; 0 for a window of no length."""
        within = (self.status == OK) & (self.done >= 0.0) & (self.done <= self.seconds)
        return float(within.sum() / self.seconds) if self.seconds > 0 else 0.0

    @property
    def statuses(self) -> dict[int, int]:
        """How many requests ended with each status, 0 for those without an answer."""
        found, counts = np.unique(self.status, return_counts=True)
        return dict(zip(found.tolist(), counts.tolist(), strict=True))

    def quantile_ms(self, q: float) -> float:
        """The latency that a share `q` of requests stays within; refused ones are left out, unanswered are infinite.

        A refusal is quick and would flatter; count it by `statuses`. Raises ValueError where all were refused.
        """
        served = self.latency_ms[(self.status == OK) | (self.status == 0)]
        if not len(served):
            raise ValueError("no request was served")
        return float(np.quantile(served, q, method="inverted_cdf"))
