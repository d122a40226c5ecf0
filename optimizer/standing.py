"""A tier under measurement whose environments nobody can stop, as Lambda's: those there are are kept busy meanwhile.

What starts and loads cost is seen only in an environment that was not there before; which one answered says the reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from optimizer.backend import Backend, Standing, environment_of
from optimizer.bench import Bench, Run
from optimizer.errors import NoNewEnvironment
from optimizer.evaluation import Evaluation
from registry.model import Placement, Variant

TRIES = 8
"""Calls for one run that teach nothing."""

MOST_TRIES = 40
"""Calls for one run in all. Environments may stand there warm from whoever asked lately, and answer before a new one is
started: each call that ends in one makes it known, and so kept busy by the next."""

HOLD_MS = 1000
"""How long environments are kept busy: as long as a worker allows."""

PAUSE_S = 0.05
"""Before them: one that has just answered is not ready for the next call at once."""

LEAD_S = 0.3
"""From sending the calls that keep them busy to the run: a new connection takes three round trips."""


def bench_of(backend: Backend, evaluation: Evaluation, clock: Callable[[], float]) -> Bench:
    """The bench for a backend, which may say by `Standing` that its environments cannot be stopped."""
    if isinstance(backend, Standing):
        return StandingBench(backend, backend, evaluation, clock)
    return Bench(backend, evaluation, clock)


class StandingBench(Bench):
    """Runs placements of one backend; after `forget`, the first run of each is in an environment started since."""

    def __init__(
        self, backend: Backend, standing: Standing, evaluation: Evaluation, clock: Callable[[], float]
    ) -> None:
        super().__init__(backend, evaluation, clock)
        self._standing = standing
        self._known: set[str] = set()
        self._spent: frozenset[str] = frozenset()
        """Those known when all was to be forgotten."""
        self._met: set[str] = set()
        """Placements that have run since."""
        self._forgotten = False

    async def forget(self) -> None:
        """Use no environment for a first run any more that is known by now."""
        self._spent, self._forgotten = frozenset(self._known), True
        self._met.clear()

    async def run(self, placement: Placement, variant: Variant, rows: int) -> Run:
        """One run; raises NoNewEnvironment where no new environment is to be had, and what the backend raises."""
        if self._forgotten and placement.id not in self._met:
            run = await self._first(placement, variant, rows)
        else:
            run = await self._steady(placement, variant, rows)
        self._met.add(placement.id)
        return run

    async def _first(self, placement: Placement, variant: Variant, rows: int) -> Run:
        attempt = taught_nothing = 0
        while taught_nothing < TRIES and attempt < MOST_TRIES:
            fresh = self._known - self._spent
            known = frozenset(self._known)
            if fresh and not attempt % 2 and attempt < TRIES:
                # Whichever it was that the last call kept busy is a platform's most recently used one now.
                run, environment = await self._here(placement, variant, rows)
            else:
                busy = known if attempt > TRIES // 2 else self._spent
                others = min(len(busy), self._standing.at_once - 1)
                run, environment = await self._apart(placement, variant, rows, others)
            # One that is new to us and was not started for us has stood there before, too.
            if environment not in self._spent and (run.cold or environment in known):
                return run
            self._spent |= {environment}
            attempt, taught_nothing = attempt + 1, taught_nothing + (environment in known)
        raise NoNewEnvironment(
            f"{self.backend.tier.name} gave no new environment in {attempt} calls, and a start cannot be measured"
            f" without one ({self._standing.at_once} calls at once, {len(self._known)} environments known);"
            " raise its concurrency, or measure while it is asked for less"
        )

    async def _steady(self, placement: Placement, variant: Variant, rows: int) -> Run:
        """A run by which nothing was started or loaded, as far as that is to be had: any environment may answer."""
        for _ in range(TRIES):
            run, _ = await self._here(placement, variant, rows)
            if not (run.cold or run.loaded):
                break
        return run

    async def _apart(self, placement: Placement, variant: Variant, rows: int, others: int) -> tuple[Run, str]:
        """A run while so many environments are busy; where it ends up says whether they were those meant."""
        if not others:
            return await self._here(placement, variant, rows)
        await asyncio.sleep(PAUSE_S)
        busy = asyncio.create_task(self._standing.occupy(variant, others, HOLD_MS))
        try:
            await asyncio.sleep(LEAD_S)
            return await self._here(placement, variant, rows)
        finally:
            await asyncio.gather(busy, return_exceptions=True)

    async def _here(self, placement: Placement, variant: Variant, rows: int) -> tuple[Run, str]:
        run, reply = await self._timed(placement, variant, rows)
        environment = environment_of(reply)
        self._known.add(environment)
        return run, environment
