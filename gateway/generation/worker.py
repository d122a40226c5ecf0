"""Looks at what was asked in vain, and makes, measures and publishes what may help; runs apart from any gateway."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gateway.generation.making import Workshop, ended, generation_for, possible_of
from gateway.local import Platform
from optimizer.generate.table import GENERATORS
from optimizer.ondemand import Option
from optimizer.plan import FULL, Plan
from registry.blobs import Blobs
from registry.generations import Generation, GenerationState
from registry.store import Store
from registry.stores.generations import SqliteGenerations


async def work(
    platform: Platform,
    generations: SqliteGenerations,
    *,
    plan: Plan = FULL,
    told: Callable[[Generation], None] = lambda _: None,
) -> list[Generation]:
    """Answer every question that waits and run every generation that is queued, one after another; as they ended.

    `told` is called with each generation when it starts and when it ends. Whoever calls this is the only one who runs
    generations of this home: what is marked as running is nobody's, and queued again.
    """
    generations.recover()
    workshop = Workshop(platform.store, platform.blobs, platform.backends, plan, platform.clock)
    done: list[Generation] = []
    while True:
        await asyncio.to_thread(answer_all, platform.store, platform.blobs, generations)
        generation = generations.start_next()
        if generation is None:
            return done
        told(generation)
        if not done:
            await platform.prepare()
        done.append(await _done(generation, workshop, generations))
        told(done[-1])


def answer_all(store: Store, blobs: Blobs, generations: SqliteGenerations) -> None:
    """Look at each question that waits, and queue the generation that would best answer it, if there is one.

    Of a task whose models cannot be read nothing is made, which the log says.
    """
    catalogue = store.load()
    possible: dict[str, tuple[Option, ...]] = {}
    for asked in generations.pending():
        task = asked.task
        generations.answer(asked, None)  # a model whose planning ends this process must not end every process after it
        if task not in possible:
            possible[task] = possible_of(catalogue, blobs, task, GENERATORS)
        generation = generation_for(asked, catalogue, possible[task], generations, time.time())
        if generation is not None:
            generations.answer(asked, generation)


async def _done(generation: Generation, workshop: Workshop, generations: SqliteGenerations) -> Generation:
    """The generation as it ended; queued again when this is cancelled."""
    try:
        return await ended(generation, workshop, generations)
    except asyncio.CancelledError:
        generations.move(generation.id, GenerationState.QUEUED)
        raise
