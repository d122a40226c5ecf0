"""The optimize function's work: one question that nothing held, to a variant made, measured and published, or none.

Variants are made of registered models alone, which were vetted in a sandbox before they were registered: nothing that
comes with a question is parsed as a model here. They are measured through the deployed workers.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from functions.aws.backends import CloudBackends
from functions.aws.emf import Emf
from functions.aws.queue import Queue
from functions.aws.settings import OptimizeSettings
from gateway.generation.making import Workshop, ended, generation_for, possible_of
from optimizer.generate.table import GENERATORS
from optimizer.plan import QUICK, Plan
from registry.blobs import Blobs
from registry.blobs.s3 import S3Blobs
from registry.catalogue import Catalogue
from registry.documents import from_document
from registry.errors import InvalidValue
from registry.generations import Asked, Generation, GenerationState
from registry.measures import Measure
from registry.stores.dynamodb import DynamoStore
from registry.stores.dynamodb_claims import DynamoClaims
from registry.stores.dynamodb_generations import PARTITION as GENERATIONS
from registry.stores.dynamodb_generations import DynamoGenerations
from registry.stores.dynamodb_table import DynamoTable

if TYPE_CHECKING:
    from gateway.backends.lambda_ import Client

log = logging.getLogger(__name__)

HERE = MappingProxyType({name: made for name, made in GENERATORS.items() if name != "distill"})
"""What can be made here: a student is taught by scikit-learn, which would not fit in."""

CACHE = "/tmp/blobs"  # noqa: S108 - all that a function may write to, and its environment's own

LONGEST_S = 900.0
"""A function runs no longer (Lambda quotas): what was started before that is nobody's any more."""

MOST_AT_ONCE = 16
"""Calls of one worker that a measurement may have under way: one runs, and the others keep environments busy for a
second, so that one more is started. Whoever asks meanwhile finds so many fewer. Starts can be measured where some ten
stand idle; where more do, it is said that they cannot."""

SHARE = 4
"""Of the environments that a worker has reserved, one in so many may be taken for that."""

TURN = "TURN"
"""What is claimed to make a generation: one at a time, for two would measure one another and disturb twice as many."""

LATER_S = 900
"""When a question that has to wait is looked at again: by then any generation has ended."""

MARGIN_S = 30.0
"""Of the function's own time, in which nothing is begun: what came of a generation is still to be written."""


class Optimizing:
    """One environment's part; generations are made one at a time in it."""

    def __init__(
        self,
        settings: OptimizeSettings,
        *,
        table: DynamoTable | None = None,
        queue: Queue | None = None,
        blobs: Blobs | None = None,
        make_lambda: Callable[[int], Client] | None = None,
        emf: Emf | None = None,
        plan: Plan = QUICK,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        table = table or DynamoTable(settings.table)
        self._wall = wall
        self._emf = emf or Emf("optimize", write=None)
        self._generations = DynamoGenerations(table, wall=wall)
        self._claims = DynamoClaims(table, GENERATIONS)
        self._queue = queue or Queue(settings.queue)
        self._backends = CloudBackends(
            settings.workers,
            emit=lambda _: None,
            make_client=make_lambda,
            clock=clock,
            isolated=settings.isolated,
            at_once=at_once(settings.reserved),
        )
        self._workshop = Workshop(
            DynamoStore(table), blobs or S3Blobs(settings.bucket, CACHE), self._backends.by_tier, plan, clock, HERE
        )

    async def once(self, body: str, left_s: float) -> Generation | None:
        """Answer one question; the generation that does, as it is now, or None where nothing is expected to.

        While another generation is made, the question goes back into the queue.

        `left_s` is what the function has left of its own time. Raises InvalidValue for what is no question, and
        Unavailable when table or bucket cannot be reached.
        """
        asked = asked_of(body)
        catalogue = await asyncio.to_thread(self._workshop.store.load)
        if asked.task not in catalogue.tasks:
            return None
        self._backends.follow(catalogue)
        generation = await asyncio.to_thread(self._planned, asked, catalogue)
        if generation is None or generation.state is not GenerationState.QUEUED:
            return generation
        if not self._claims.claim(TURN, self._wall(), LONGEST_S):
            # Sent anew, and not left: a message that is left is a dead letter after its third receive.
            self._queue.send(body, delay_s=LATER_S)
            return generation
        try:
            return await self._made(generation, left_s)
        finally:
            self._claims.release(TURN)

    async def _made(self, generation: Generation, left_s: float) -> Generation:
        try:
            running = self._generations.move(generation.id, GenerationState.RUNNING)
        except InvalidValue:  # another environment was first
            return self._generations.generation(generation.id)
        done = await self._ended(running, left_s - MARGIN_S)
        published = done.state is GenerationState.PUBLISHED
        # Both, whichever it was: arithmetic over metrics is silent where one of them has no data.
        self._emf.put((Measure("VariantsMade", published), Measure("VariantsNotMade", not published)))
        log.info("%s/%s: %s: %s", done.task, done.variant, done.state, done.reason)
        return done

    def _planned(self, asked: Asked, catalogue: Catalogue) -> Generation | None:
        abandoned = datetime.fromtimestamp(self._wall() - LONGEST_S, UTC)
        self._generations.recover(abandoned.isoformat(timespec="seconds"))
        possible = possible_of(catalogue, self._workshop.blobs, asked.task, HERE)
        generation = generation_for(asked, catalogue, possible, self._generations, self._wall())
        if generation is not None:
            self._generations.say(asked, generation)
        return generation

    async def _ended(self, running: Generation, within_s: float) -> Generation:
        try:
            async with asyncio.timeout(within_s):
                return await ended(running, self._workshop, self._generations)
        except TimeoutError:
            reason = f"takes longer than the {within_s:.0f} s that a function has for it; make it with modelless"
            return self._generations.move(running.id, GenerationState.FAILED, reason)


def at_once(reserved: int) -> int:
    """Calls of a worker that a measurement may have under way, where so many environments are reserved (0: none)."""
    return min(MOST_AT_ONCE, max(1, reserved // SHARE)) if reserved else MOST_AT_ONCE


def asked_of(body: str) -> Asked:
    """The question in a message; raises InvalidValue."""
    try:
        document = json.loads(body)
    except ValueError:
        raise InvalidValue("message", "is no JSON", "send a question") from None
    return from_document(Asked, document)
