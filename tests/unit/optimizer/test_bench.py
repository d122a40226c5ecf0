"""A bench times what its backend takes, on other rows each time, and knows its rows by their content."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from optimizer.bench import Bench
from optimizer.evaluation import Evaluation
from registry.model import Accuracy, Placement, Recipe, Variant

VARIANT = Variant("t", "v", "blake3:" + "0" * 64, Recipe("train"), Accuracy(0.5, 0.4, 0.6, 10, "wilson"))
X = np.arange(10, dtype=np.float32)


class Echo:
    """Takes three milliseconds a run, and keeps what it was asked."""

    def __init__(self, **said: float) -> None:
        self.now, self.asked, self._said = 0.0, [], said

    async def invoke(self, invocation: Any) -> Any:
        self.now += 0.003
        self.asked.append(invocation)
        return SimpleNamespace(cold=True, loaded=False, load_ms=0.0, billed_ms=3.0, **self._said)


def bench(backend: Echo, **inputs: Any) -> Bench:
    return Bench(backend, Evaluation(inputs or {"x": X}, "y", np.arange(10)), lambda: backend.now)  # type: ignore[arg-type]


async def test_a_run_is_timed_as_its_caller_sees_it() -> None:
    backend = Echo()
    measured = bench(backend)
    runs = [await measured.run(Placement(VARIANT.id, "tier"), VARIANT, 4) for _ in range(3)]
    assert [run.ms for run in runs] == pytest.approx([3.0] * 3)
    assert (runs[0].cold, runs[0].billed_ms, runs[0].peak_mb) == (True, 3.0, None)
    assert [i.inputs["x"].tolist() for i in backend.asked] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1]]
    assert len({i.id for i in backend.asked}) == 3


async def test_the_peak_is_told_where_the_backend_knows_it() -> None:
    run = await bench(Echo(peak_mb=80.0)).run(Placement(VARIANT.id, "tier"), VARIANT, 1)
    assert run.peak_mb == 80.0


def test_rows_are_known_by_their_content() -> None:
    words = np.array([b"a", b"bc"] * 5, dtype=object)
    digests = [
        bench(Echo()).inputs,
        bench(Echo(), x=X + 1).inputs,
        bench(Echo(), x=X.astype(np.float64)).inputs,
        bench(Echo(), z=X).inputs,
        bench(Echo(), x=words).inputs,
        bench(Echo(), x=words[::-1]).inputs,
    ]
    assert len(set(digests)) == len(digests)
    assert bench(Echo(), x=X.copy()).inputs == digests[0]
    assert bench(Echo(), x=words.copy()).inputs == digests[4]
