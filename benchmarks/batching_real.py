"""Sends rows to a station through the container's batcher, in this process and for real; it chooses no rates.

One core runs the model, so that the queue before it is what is measured; the loop that takes requests and a run of
less than the batcher's INLINE_S share another, as in the container. Requests come by a timer of the kernel's.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import uvloop

from benchmarks.batching_models import Subject
from benchmarks.batching_rows import Answered
from benchmarks.load_client import when_due
from runtime.batcher import Batcher, Executed, Inputs, Outcome, Outputs
from runtime.errors import RuntimeFault
from runtime.server import SWITCH_S
from scheduler.station import Station
from scheduler.work import Run, Work
from simulator.arrivals import Floats

CORES = 1

LEAD_S = 0.02
"""From the start of the loop to the first arrival's zero."""

IDLE_S = 1e-6
"""What a run of an engine that does nothing is said to take."""

Pace = Callable[[float], int]
"""How often each run is done that begins at so many seconds: 2 doubles the service time."""


def steady(_: float) -> int:
    """The pace of a service time that does not change."""
    return 1


def play(
    station: Station, subject: Subject, times: Floats, slo_s: float, *, pace: Pace = steady, idle: bool = False
) -> Answered:
    """One row at each of `times` (s), each with `slo_s` to its deadline; `idle` runs nothing and answers at once.

    Raises AssertionError where an answer is not what the model gives to the row alone.
    """
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()  # as the container does once it is loaded
    answered: Answered = uvloop.run(_play(station, subject, times, slo_s, pace=pace, idle=idle))
    return answered


class _Engine:
    """One model that is loaded; each run is done as often as the pace says."""

    def __init__(self, subject: Subject, pace: Callable[[], int], idle: bool) -> None:
        self._loaded = subject.loaded
        self._pace = pace
        self._idle: Outputs | None = subject.alone[0] if idle else None

    def immediate(self, run: Run) -> bool:
        """It is loaded."""
        return True

    def execute(self, run: Run, inputs: Sequence[Inputs], rows: Sequence[int]) -> Executed:
        """The outputs of all rows."""
        if self._idle is not None:
            return Executed([self._idle] * len(inputs), IDLE_S, loaded=False)
        outputs, took = self._loaded.run(inputs, rows)
        for _ in range(self._pace() - 1):
            took += self._loaded.run(inputs, rows)[1]
        return Executed(outputs, took, loaded=False)

    def prefetch(self, task: str, variant: str, threads: int) -> None:
        """Nothing is left to load."""

    def settle(self) -> None:
        """Nothing changes."""

    def ran(self, run: Run, took_s: float, ok: bool) -> None:
        """Nothing is counted here."""


class _Sender:
    """Submits requests, and keeps what becomes of them."""

    def __init__(self, batcher: Batcher, subject: Subject, times: Floats, slo_s: float, origin: float) -> None:
        self._batcher = batcher
        self.times: list[float] = (times + origin).tolist()
        self.done = [np.inf] * len(times)
        self.outputs: list[tuple[int, Outputs]] = []
        self._task, self._slo_s = subject.name, slo_s
        self._rows = [{"image": row} for row in subject.rows]

    def send(self, number: int) -> None:
        """Submit one request."""
        due, row = self.times[number], self._rows[number % len(self._rows)]
        self._batcher.submit(Work(self._task, 1, due, due + self._slo_s), row, _Done(self, number))


class _Done:
    """Notes what became of one request."""

    __slots__ = ("_number", "_sender")

    def __init__(self, sender: _Sender, number: int) -> None:
        self._sender, self._number = sender, number

    def __call__(self, result: Outcome | RuntimeFault) -> None:
        if isinstance(result, Outcome):
            self._sender.done[self._number] = time.monotonic()
            self._sender.outputs.append((self._number, result.outputs))


async def _play(station: Station, subject: Subject, times: Floats, slo_s: float, *, pace: Pace, idle: bool) -> Answered:
    origin = time.monotonic() + LEAD_S
    engine = _Engine(subject, lambda: pace(time.monotonic() - origin), idle)
    batcher = Batcher(station, engine, cores=CORES)
    sender = _Sender(batcher, subject, times, slo_s, origin)
    await when_due(sender.times, sender.send)
    await batcher.close()
    if not idle and sender.outputs:
        subject.check([(number % len(subject.rows), dict(outputs)) for number, outputs in sender.outputs])
    return Answered(times, np.array(sender.done) - origin)
