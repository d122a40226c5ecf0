"""Runs a decider for real: the container's batcher, threads and ONNX Runtime sessions, in this process."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import cast

import numpy as np
import uvloop
from numpy.typing import NDArray

from benchmarks.ladder import inputs
from benchmarks.load_client import when_due
from benchmarks.switching_profile import CORES, ROWS, TASK, Sessions
from benchmarks.virtual import Decider, Outcomes
from runtime.batcher import Batcher, Executed, Inputs, Outcome
from runtime.errors import RuntimeFault
from runtime.server import SWITCH_S
from scheduler.station import Station
from scheduler.work import Run, Work
from simulator.arrivals import Floats

LEAD_S = 0.2
"""From the start of the loop to the first arrival."""


class _Engine:
    """Sessions that are all loaded."""

    def __init__(self, sessions: Sessions, runs: list[tuple[float, Run]], origin: float) -> None:
        self._sessions = sessions
        self._runs = runs
        self._origin = origin

    def immediate(self, run: Run) -> bool:
        """Everything is loaded."""
        return True

    def execute(self, run: Run, inputs: Sequence[Inputs], rows: Sequence[int]) -> Executed:
        """The labels of all rows."""
        self._runs.append((time.monotonic() - self._origin, run))
        joined = np.concatenate([cast(NDArray[np.float32], each["image"]) for each in inputs])
        started = time.perf_counter()
        labels = self._sessions.run(run.variant, run.threads, joined)
        took = time.perf_counter() - started
        parts = np.split(labels, len(inputs))
        return Executed([{"label": part} for part in parts], took, loaded=False)

    def prefetch(self, task: str, variant: str, threads: int) -> None:
        """Nothing is left to load."""

    def settle(self) -> None:
        """Nothing changes."""

    def ran(self, run: Run, took_s: float, ok: bool) -> None:
        """Nothing is counted here."""


@dataclass(frozen=True, slots=True)
class Questions:
    """What is asked, ROWS rows at a time, and what each variant answers to a row alone."""

    parts: Sequence[NDArray[np.float32]]
    labels: Mapping[str, Sequence[NDArray[np.int64]]]

    @classmethod
    def of(cls, sessions: Sessions) -> Questions:
        """The held-out rows, answered beforehand."""
        rows = inputs()
        count = len(rows) // ROWS
        rows = rows[: count * ROWS]
        alone = {
            made.name: np.concatenate([sessions.run(made.name, 1, rows[i : i + 1]) for i in range(len(rows))])
            for made in sessions.made
        }
        return cls(np.split(rows, count), {name: np.split(labels, count) for name, labels in alone.items()})


def play_for_real(
    decider: Decider, sessions: Sessions, questions: Questions, times: Floats, deadline_s: float
) -> Outcomes:
    """What becomes of one request at each arrival; its latency counts from when it was due.

    Every answer must be the labels that the variant gives the rows alone; raises AssertionError.
    """
    sys.setswitchinterval(SWITCH_S)
    outcomes: Outcomes = uvloop.run(_play(decider, sessions, questions, times, deadline_s))
    return outcomes


async def _play(
    decider: Decider, sessions: Sessions, questions: Questions, times: Floats, deadline_s: float
) -> Outcomes:
    outcomes = Outcomes(times, [inf] * len(times), [None] * len(times))
    origin = time.monotonic() + LEAD_S
    batcher = Batcher(
        cast(Station, decider), _Engine(sessions, outcomes.runs, origin), cores=CORES, clock=lambda: _since(origin)
    )
    wrong: list[str] = []
    due = times.tolist()

    def submit(i: int) -> None:
        asked = i % len(questions.parts)

        def done(result: Outcome | RuntimeFault) -> None:
            if isinstance(result, Outcome):
                outcomes.done[i], outcomes.variant[i] = _since(origin), result.variant
                given, wanted = result.outputs["label"], questions.labels[result.variant][asked]
                if not np.array_equal(given, wanted):
                    wrong.append(f"{result.variant} answered request {asked} with {given} instead of {wanted}")

        batcher.submit(Work(TASK, 1, due[i], due[i] + deadline_s), {"image": questions.parts[asked]}, done)

    await when_due([origin + at for at in due], submit)
    await batcher.close()
    assert not wrong, wrong[0]
    return outcomes


def _since(origin: float) -> float:
    return time.monotonic() - origin
