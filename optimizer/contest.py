"""Times variants side by side in this process, in turns; knows nothing of tiers, and judges nobody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median

from optimizer.evaluation import Evaluation
from optimizer.make import Made
from optimizer.plan import Plan
from optimizer.progress import Steps
from optimizer.screen import Figures
from registry.blobs import Blobs
from runtime.session import Session

TURNS = 12
"""Of 6,000 pairs of equal variants, of a linear model and of a forest, nine were told apart on some axis (two shared
cores); with four turns of single loads it was one pair in six."""

PATIENCE_S = 30.0
"""A contest that has had `Plan.starts` turns ends after this: large models load for seconds, and differ by more."""

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Entrant:
    """A variant to compare."""

    made: Made
    blobs: Blobs
    """Those that hold its artifact."""
    tiers: frozenset[str]
    """Names of those that it may be placed on."""


@dataclass(slots=True)
class _Times:
    """Milliseconds of one variant, one of each a turn."""

    row: list[float] = field(default_factory=list)
    batch_row: list[float] = field(default_factory=list)
    load: list[float] = field(default_factory=list)


class Contest:
    """Variants that take turns: each is loaded, runs one row and its largest batch on one thread, and makes room.

    So drift of the machine hits all alike, and one at a time is in memory. Who goes first finds the caches full of
    another, so the order turns round.
    """

    def __init__(self, entrants: Sequence[Entrant], evaluation: Evaluation, plan: Plan, clock: Clock) -> None:
        self._entrants = entrants
        self._evaluation = evaluation
        self._plan = plan
        self._clock = clock
        self._times = {entrant.made.name: _Times() for entrant in entrants}
        self._turns = 0

    def turn(self) -> None:
        """One turn of every variant."""
        for entrant in self._entrants if self._turns % 2 else reversed(self._entrants):
            self._run(entrant, self._times[entrant.made.name])
        self._turns += 1

    def figures(self) -> dict[str, Figures]:
        """What was measured, by name; there must have been a turn."""
        return {entrant.made.name: self._figures(entrant) for entrant in self._entrants}

    def _run(self, entrant: Entrant, times: _Times) -> None:
        most = entrant.made.candidate.max_batch
        # Of loads the shortest: they vary upwards only, and by more than runs do.
        times.load.append(min(self._timed(lambda: self._open(entrant).close())))
        session = self._open(entrant)
        for ms, rows in ((times.row, 1), (times.batch_row, most)):
            inputs = self._evaluation.batch(rows)
            session.run(inputs)  # fills buffers
            ms.append(median(self._timed(partial(session.run, inputs))) / rows)
        session.close()

    def _open(self, entrant: Entrant) -> Session:
        artifact = entrant.made.candidate.variant.artifact
        return Session.open(entrant.blobs, artifact, threads=1, prepack=_packed(entrant.made))

    def _timed(self, work: Callable[[], object]) -> list[float]:
        """Milliseconds of a few runs of it: a single one may meet whatever else the machine does."""
        runs = []
        for _ in range(self._plan.burst):
            started = self._clock()
            work()
            runs.append((self._clock() - started) * 1e3)
        return runs

    def _figures(self, entrant: Entrant) -> Figures:
        made, times = entrant.made, self._times[entrant.made.name]
        return Figures(
            accuracy=made.candidate.variant.accuracy.value,
            row_ms=tuple(times.row),
            batch_row_ms=tuple(times.batch_row),
            load_ms=tuple(times.load),
            memory_mb=made.memory_mb[_packed(made)],
            size_bytes=made.candidate.variant.size_bytes,
            max_batch=made.candidate.max_batch,
            tiers=entrant.tiers,
        )


async def hold(
    entrants: Sequence[Entrant], evaluation: Evaluation, plan: Plan, steps: Steps, clock: Clock = time.perf_counter
) -> dict[str, Figures]:
    """Figures by name after TURNS turns, reporting as many steps; `clock` is in seconds."""
    contest = Contest(entrants, evaluation, plan, clock)
    started = clock()
    for turn in range(TURNS):
        if turn < plan.starts or clock() - started < PATIENCE_S:
            await asyncio.to_thread(contest.turn)
        steps.step(f"compared side by side, {turn + 1} of {TURNS}")
    return contest.figures()


def _packed(made: Made) -> bool:
    """Whether to compare it with pre-packed weights: so runs are fastest, unless its placements may not."""
    return made.candidate.prepack is not False
