"""Looks at what was asked in vain, and makes, measures and publishes what may help; runs apart from any gateway."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from gateway.errors import BackendError
from gateway.local import Platform
from optimizer.errors import OptimizerError
from optimizer.generate.table import GENERATORS
from optimizer.more import parent_of, proposal, register_more
from optimizer.ondemand import Option, options, wanted
from optimizer.plan import FULL, Plan
from registry.blobs import Blobs
from registry.catalogue import Catalogue
from registry.errors import RegistryError
from registry.generations import Asked, Generation, GenerationState
from registry.lineage import Outcome, Tried
from registry.model import Variant
from registry.store import Store
from registry.stores.generations import SqliteGenerations
from runtime.errors import RuntimeFault

log = logging.getLogger(__name__)

FAULTS = (OptimizerError, RegistryError, BackendError, RuntimeFault, OSError)
"""What may go wrong with one generation and says so by itself."""


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
    done: list[Generation] = []
    while True:
        await asyncio.to_thread(answer_all, platform.store, platform.blobs, generations)
        generation = generations.start_next()
        if generation is None:
            return done
        told(generation)
        if not done:
            await platform.prepare()
        done.append(await _done(generation, platform, generations, plan))
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
        if task in catalogue.sources and task not in possible:
            try:
                possible[task] = possible_of(catalogue, blobs, task)
            except FAULTS as fault:  # asked again it would fail again, and every other task would wait for it
                log.warning("nothing can be made for %s: %s", task, fault)
                possible[task] = ()
        generation = _generation_for(asked, catalogue, possible.get(task, ()), generations)
        if generation is not None:
            generations.answer(asked, generation)


def possible_of(catalogue: Catalogue, blobs: Blobs, task: str) -> tuple[Option, ...]:
    """Everything that could be made of a task's registered models; raises NotFound, DigestMismatch or Unavailable."""
    names = [name for name, _ in catalogue.sources[task].models]
    parents = (parent_of(catalogue, blobs, task, name) for name in names)
    return options(parents, GENERATORS, alone=len(names) == 1)


def _generation_for(
    asked: Asked, catalogue: Catalogue, possible: tuple[Option, ...], generations: SqliteGenerations
) -> Generation | None:
    if not possible:
        return None
    basis = catalogue.sources[asked.task].evaluation
    failed = {
        generation.recipe
        for generation in generations.generations()
        if (generation.task, generation.basis, generation.state) == (asked.task, basis, GenerationState.FAILED)
    }
    wish = wanted(asked, catalogue, [option for option in possible if option.recipe not in failed])
    if wish is None:
        return None
    option = wish.option
    return generations.queue(
        asked.task, option.name, option.suffix, option.recipe, basis=basis, tier=wish.tier, rows=asked.rows
    )


async def _done(generation: Generation, platform: Platform, generations: SqliteGenerations, plan: Plan) -> Generation:
    """The generation as it ended; queued again when this is cancelled."""
    try:
        made = await _made(generation, platform, plan)
    except asyncio.CancelledError:
        generations.move(generation.id, GenerationState.QUEUED)
        raise
    except FAULTS as fault:
        return generations.move(generation.id, GenerationState.FAILED, str(fault))
    except Exception as fault:  # the outermost handler of a generation: the next one is not to suffer
        log.exception("generation %s", generation.id)
        return generations.move(generation.id, GenerationState.FAILED, f"{type(fault).__name__}: {fault}")
    if isinstance(made, Tried):
        state = GenerationState.DROPPED if made.outcome is Outcome.DROPPED else GenerationState.FAILED
        return generations.move(generation.id, state, made.reason)
    return generations.move(generation.id, GenerationState.PUBLISHED, f"accuracy {made.accuracy.value:.4f}")


async def _made(generation: Generation, platform: Platform, plan: Plan) -> Variant | Tried:
    recipe = generation.recipe
    model = proposal(
        platform.store.load(),
        generation.task,
        recipe.parent or "",
        generation.suffix,
        (recipe.generator, dict(recipe.parameters)),
    )
    return await register_more(
        generation.task, model, platform.store, platform.blobs, platform.backends, plan=plan, clock=platform.clock
    )
