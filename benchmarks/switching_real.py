"""Runs a decider for real: the container's batcher, threads and ONNX Runtime sessions, in this process."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import cast

import numpy as np
import uvloop
from numpy.typing import NDArray

from benchmarks.arrivals import Floats
from benchmarks.ladder import inputs
from benchmarks.switching_profile import CORES, TASK, Sessions
from benchmarks.virtual import Decider, Outcomes
from runtime.batcher import Batcher, Executed, Inputs, Outcome
from runtime.errors import RuntimeFault
from scheduler.station import Station
from scheduler.work import Run, Work

SWITCH_INTERVAL_S = 0.5e-3
"""As the container sets it: how long a thread keeps the interpreter while another wants it."""

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
        return Executed([{"label": labels[i : i + 1]} for i in range(len(inputs))], took, loaded=False)

    def prefetch(self, task: str, variant: str, threads: int) -> None:
        """Nothing is left to load."""

    def settle(self) -> None:
        """Nothing changes."""

    def ran(self, run: Run, took_s: float, ok: bool) -> None:
        """Nothing is counted here."""


@dataclass(frozen=True, slots=True)
class Questions:
    """What is asked, and what each variant answers to a row alone."""

    rows: NDArray[np.float32]
    labels: Mapping[str, NDArray[np.int64]]

    @classmethod
    def of(cls, sessions: Sessions) -> Questions:
        """The held-out rows, answered beforehand."""
        rows = inputs()
        alone = {
            made.name: np.concatenate([sessions.run(made.name, 1, rows[i : i + 1]) for i in range(len(rows))])
            for made in sessions.made
        }
        return cls(rows, alone)


def play_for_real(
    decider: Decider, sessions: Sessions, questions: Questions, times: Floats, deadline_s: float
) -> Outcomes:
    """What becomes of one row at each arrival; its latency counts from when it was due.

    Every answer must be the label that the variant gives the row alone; raises AssertionError.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    outcomes: Outcomes = uvloop.run(_play(decider, sessions, questions, times, deadline_s))
    return outcomes


async def _play(
    decider: Decider, sessions: Sessions, questions: Questions, times: Floats, deadline_s: float
) -> Outcomes:
    loop = asyncio.get_running_loop()
    outcomes = Outcomes(times, [inf] * len(times), [None] * len(times))
    origin = time.monotonic() + LEAD_S
    batcher = Batcher(
        cast(Station, decider), _Engine(sessions, outcomes.runs, origin), cores=CORES, clock=lambda: _since(origin)
    )
    wrong: list[str] = []

    def submit(i: int) -> None:
        due, row = float(times[i]), i % len(questions.rows)

        def done(result: Outcome | RuntimeFault) -> None:
            if isinstance(result, Outcome):
                outcomes.done[i], outcomes.variant[i] = _since(origin), result.variant
                given, wanted = int(result.outputs["label"][0]), int(questions.labels[result.variant][row])
                if given != wanted:
                    wrong.append(f"{result.variant} gave row {row} the label {given} instead of {wanted}")

        batcher.submit(Work(TASK, 1, due, due + deadline_s), {"image": questions.rows[row : row + 1]}, done)

    await loop.run_in_executor(None, _arrive, loop, origin, times, submit)
    await batcher.close()
    assert not wrong, wrong[0]
    return outcomes


def _arrive(loop: asyncio.AbstractEventLoop, origin: float, times: Floats, submit: Callable[[int], None]) -> None:
    """Have the loop call `submit` with each number when it is due: the loop's own timers are a millisecond coarse."""
    for i, due in enumerate(times.tolist()):
        early = due - _since(origin)
        if early > 0:
            time.sleep(early)
        loop.call_soon_threadsafe(submit, i)


def _since(origin: float) -> float:
    return time.monotonic() - origin
