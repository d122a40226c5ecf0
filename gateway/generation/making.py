"""Which variant would answer a question that nothing held, and the making of it; knows no platform and no process."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import takewhile

from gateway.backends.protocol import Backend
from gateway.errors import BackendError, NotReady, Throttled
from optimizer.errors import NoNewEnvironment, OptimizerError
from optimizer.generate.table import GENERATORS
from optimizer.more import parent_of, proposal, register_more
from optimizer.ondemand import Option, options, wanted
from optimizer.plan import FULL, Plan
from optimizer.proposals import Generators
from registry.blobs import Blobs
from registry.catalogue import Catalogue
from registry.errors import RegistryError, Unavailable
from registry.generations import Asked, Generation, GenerationLog, GenerationState
from registry.lineage import Outcome, Tried
from registry.model import Variant
from registry.store import Store
from runtime.errors import RuntimeFault

log = logging.getLogger(__name__)

FAULTS = (OptimizerError, RegistryError, BackendError, RuntimeFault, OSError)
"""What may go wrong with one generation and says so by itself."""

PASSING = (NoNewEnvironment, NotReady, Throttled, Unavailable)
"""What of it says nothing of the recipe: somewhat later it may be otherwise."""

PAUSE_S = 2700.0
"""How long nothing is made for a task of which a generation failed so: another would meet with the same. Doubled each
time in a row. In the cloud a question comes once an hour, of which a generation takes a quarter at most."""

LONGEST_PAUSE_S = 32 * PAUSE_S


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where variants are made: of what, with what, and on which tiers they are measured."""

    store: Store
    blobs: Blobs
    backends: Mapping[str, Backend]
    """By tier."""
    plan: Plan = FULL
    clock: Callable[[], float] = time.monotonic
    """The backends'."""
    generators: Generators = field(default_factory=lambda: GENERATORS)


def possible_of(catalogue: Catalogue, blobs: Blobs, task: str, generators: Generators) -> tuple[Option, ...]:
    """Everything that could be made of a task's registered models; nothing of one whose models cannot be read."""
    if task not in catalogue.sources:
        return ()
    names = [name for name, _ in catalogue.sources[task].models]
    try:
        parents = (parent_of(catalogue, blobs, task, name) for name in names)
        return options(parents, generators, alone=len(names) == 1)
    except FAULTS as fault:  # asked again it would fail again, and every other task would wait for it
        log.warning("nothing can be made for %s: %s", task, fault)
        return ()


def generation_for(
    asked: Asked, catalogue: Catalogue, possible: tuple[Option, ...], generations: GenerationLog, now: float
) -> Generation | None:
    """The generation, queued by now, that would best answer a question; `now` is in seconds since the epoch.

    None: nothing possible is expected to, or it has to wait for something to pass.
    """
    if not possible:
        return None
    basis = catalogue.sources[asked.task].evaluation
    known = [each for each in generations.generations() if (each.task, each.basis) == (asked.task, basis)]
    if _waits(known, now):
        return None
    failed = {each.recipe for each in known if each.state is GenerationState.FAILED and not each.passing}
    wish = wanted(asked, catalogue, [option for option in possible if option.recipe not in failed])
    if wish is None:
        return None
    option = wish.option
    return generations.queue(
        asked.task, option.name, option.suffix, option.recipe, basis=basis, tier=wish.tier, rows=asked.rows
    )


def _waits(known: Sequence[Generation], now: float) -> bool:
    """Whether the last that ended, newest first, failed of something that may not have passed yet."""
    over = sorted((each for each in known if each.ended_at), key=_ended_at, reverse=True)
    in_a_row = sum(1 for _ in takewhile(lambda each: each.passing, over))
    if not in_a_row:
        return False
    return now < _ended_at(over[0]) + min(PAUSE_S * 2.0 ** (in_a_row - 1), LONGEST_PAUSE_S)


def _ended_at(generation: Generation) -> float:
    return datetime.fromisoformat(generation.ended_at or "").timestamp()


async def ended(generation: Generation, workshop: Workshop, generations: GenerationLog) -> Generation:
    """A running generation as it ended: its variant published, or dropped, or the reason why it failed."""
    try:
        made = await _made(generation, workshop)
    except FAULTS as fault:
        passing = isinstance(fault, PASSING)
        return generations.move(generation.id, GenerationState.FAILED, str(fault), passing=passing)
    except Exception as fault:  # the outermost handler of a generation: the next one is not to suffer
        log.exception("generation %s", generation.id)
        return generations.move(generation.id, GenerationState.FAILED, f"{type(fault).__name__}: {fault}")
    if isinstance(made, Tried):
        state = GenerationState.DROPPED if made.outcome is Outcome.DROPPED else GenerationState.FAILED
        return generations.move(generation.id, state, made.reason)
    return generations.move(generation.id, GenerationState.PUBLISHED, f"accuracy {made.accuracy.value:.4f}")


async def _made(generation: Generation, workshop: Workshop) -> Variant | Tried:
    recipe = generation.recipe
    how = (recipe.generator, dict(recipe.parameters))
    model = proposal(workshop.store.load(), generation.task, recipe.parent or "", generation.suffix, how)
    return await register_more(
        generation.task,
        model,
        workshop.store,
        workshop.blobs,
        workshop.backends,
        plan=workshop.plan,
        clock=workshop.clock,
        generators=workshop.generators,
    )
