"""Times the ladder's variants on this machine, alone and side by side, and draws service times from what it saw."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.ladder import Made, inputs
from runtime.codecs.binary import from_tensor, to_tensor
from runtime.ort import OrtSession
from scheduler.work import Ladder, Measured, Run, Rung

CORES = 2
THREADS = (1, 2)
BATCHES = (1, 2, 4, 8, 16)
ROWS = 8
"""Of each request: the largest variant takes some 20 ms for it, so deadlines are of models and not of Python."""

TASK = "digits"
FEWEST = 12
"""Runs of a cell, however long they take."""

Cell = tuple[str, int, int]
"""Variant, threads, requests."""


@dataclass(slots=True)
class Sessions:
    """The variants, loaded once for each number of threads."""

    made: Sequence[Made]
    _open: dict[tuple[str, int], OrtSession] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def of(cls, made: Sequence[Made]) -> Iterator[Sessions]:
        """All of them, open for as long as the block lasts."""
        sessions = cls(made)
        for variant in made:
            graph = variant.path.read_bytes()
            for threads in THREADS:
                sessions._open[variant.name, threads] = OrtSession(
                    graph, "", threads=threads, prepack=True, optimised=False
                )
        try:
            yield sessions
        finally:
            for session in sessions._open.values():
                session.close()

    def run(self, variant: str, threads: int, rows: NDArray[np.float32]) -> NDArray[np.int64]:
        """The label of each row."""
        outputs = self._open[variant, threads].run({"image": to_tensor("image", rows)})
        return from_tensor("label", outputs["label"])


@dataclass(frozen=True)
class Profile:
    """Seconds of runs by cell."""

    samples: dict[Cell, NDArray[np.float64]]
    _medians: dict[Cell, float] = field(default_factory=dict)

    def quantile(self, cell: Cell, q: float) -> float:
        """Seconds that a share `q` of the runs of a measured cell stays within."""
        return float(np.quantile(self.samples[cell], q))

    def median(self, variant: str, threads: int, rows: int) -> float:
        """Seconds; on a straight line between measured batch sizes."""
        cell = (variant, threads, rows)
        if cell not in self._medians:
            known = [self.quantile((variant, threads, b), 0.5) for b in BATCHES]
            self._medians[cell] = float(np.interp(rows, BATCHES, known))
        return self._medians[cell]

    def ladder(self, made: Sequence[Made]) -> Ladder:
        """The variants as a station is offered them."""
        return Ladder(TASK, tuple(self._rung(variant) for variant in made))

    def _rung(self, variant: Made) -> Rung:
        service: dict[int, Measured] = {
            threads: tuple(
                (b, self.quantile((variant.name, threads, b), 0.5), self.quantile((variant.name, threads, b), 0.95))
                for b in BATCHES
            )
            for threads in THREADS
        }
        return Rung(variant.name, variant.accuracy, BATCHES[-1], service)


class Sampler:
    """Draws how long a run takes from the runs that were measured at the batch size at or above its own."""

    def __init__(self, profile: Profile, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._ratios: dict[Cell, Iterator[float]] = {}
        self._medians: dict[Cell, float] = {}
        self._profile = profile

    def __call__(self, run: Run) -> float:
        """Seconds."""
        cell = (run.variant, run.threads, run.rows)
        if cell not in self._medians:
            self._medians[cell] = self._profile.median(*cell)
            above = min(b for b in BATCHES if b >= run.rows)
            measured = self._profile.samples[run.variant, run.threads, above]
            self._ratios[cell] = self._drawn(measured / np.median(measured))
        return self._medians[cell] * next(self._ratios[cell])

    def _drawn(self, ratios: NDArray[np.float64]) -> Iterator[float]:
        while True:
            yield from self._random.choice(ratios, 256).tolist()


def measure(sessions: Sessions, seconds: float) -> Profile:
    """Every cell for about so long, in turns, as many runs at once as the cores have room for."""
    rows = inputs()
    cells = [(v.name, t, b) for v in sessions.made for t in THREADS for b in BATCHES]
    samples: dict[Cell, list[float]] = {cell: [] for cell in cells}
    for _ in range(3):
        for variant, threads, batch in cells:
            samples[variant, threads, batch] += _side_by_side(
                sessions, (variant, threads, batch), rows[: batch * ROWS], seconds / 3
            )
    return Profile({cell: np.array(times) for cell, times in samples.items()})


def _side_by_side(sessions: Sessions, cell: Cell, rows: NDArray[np.float32], seconds: float) -> list[float]:
    variant, threads, _ = cell
    sessions.run(variant, threads, rows)  # fills buffers of this size
    times: list[float] = []

    def work() -> None:
        end, runs = time.perf_counter() + seconds, 0
        while time.perf_counter() < end or runs < FEWEST // 3:
            started = time.perf_counter()
            sessions.run(variant, threads, rows)
            times.append(time.perf_counter() - started)
            runs += 1

    lanes = [threading.Thread(target=work) for _ in range(CORES // threads)]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    return times
