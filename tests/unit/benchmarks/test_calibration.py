"""The replay sends the same requests at the same times, and counts latency from when each was meant to be sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import calibration
from gateway.errors import Overloaded

INPUTS = np.arange(20, dtype=np.float32).reshape(10, 2)


@dataclass
class Instant:
    """A service that foresees one millisecond, and takes half of it."""

    now: float = 100.0
    refuse_every: int = 0
    arrivals: list[float] = field(default_factory=list)

    def clock(self) -> float:
        self.now += 1.0
        return self.now

    async def predict(self, *_: Any, arrived: float) -> Any:
        self.arrivals.append(arrived)
        if self.refuse_every and len(self.arrivals) % self.refuse_every == 0:
            raise Overloaded("full", retry_after_s=1.0)
        return SimpleNamespace(decision=SimpleNamespace(predicted_latency_ms=1.0, latency_ms=0.5))


def test_a_trace_is_the_same_each_time_and_has_every_kind() -> None:
    first, second = (list(islice(calibration._trace(INPUTS, seed=2), 50)) for _ in range(2))
    assert all(np.array_equal(a, b) and x == y for (a, x), (b, y) in zip(first, second, strict=True))
    assert {len(rows) for rows, _ in first} == {count for count, _ in calibration.KINDS}


async def test_a_replay_arrives_as_planned_and_refusals_are_not_judged() -> None:
    service = Instant(refuse_every=5)
    served = await calibration._replay(service, INPUTS, 50.0, 100)  # type: ignore[arg-type]
    assert len(served) == 100
    assert sum(answer is None for answer in served) == 20
    assert service.arrivals == sorted(service.arrivals)
    assert np.mean(np.diff(service.arrivals)) == pytest.approx(1 / 50, rel=0.2)


def test_only_the_held_out_part_is_judged() -> None:
    late, good = calibration.Served(1.0, 2.0), calibration.Served(1.0, 1.0)
    length = calibration.Length(settle=10, judged=4, batches=5, closed_s=1.0, plan=calibration.FULL)
    found = calibration._judged([late] * 10 + [good, good, None, late], length)
    assert found["coverage_p95"] == pytest.approx(2 / 3)
    assert (found["requests"], found["refused"]) == (3, 1)
