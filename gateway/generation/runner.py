"""Has wishes come true in a process of its own, one at a time; never makes or measures anything in this one."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from gateway.environments.processes import spawn
from gateway.generation.wishes import Wishes
from registry.errors import RegistryError
from registry.generations import Generation, GenerationState
from registry.stores.generations import SqliteGenerations

log = logging.getLogger(__name__)

EVERY_S = 5.0
"""At least this between two processes: starting one is a second of somebody's CPU."""

LONGEST_S = 60.0
"""Longest between two processes while looking leads to no generation: a caller who asks for ever new impossible things
has one started each minute at most, half a second of CPU and more, and another caller's question waits no longer than
that."""

LOOK_S = 0.25
"""How often it is looked how far generations are, while a process works on them: one small query."""

STOP_S = 10.0
"""Most seconds for a process to stop what it does and close what it opened, as for requests."""

LOG = "generate.log"
"""Where in the home the process writes what it has to say; from the start each time."""


def pause_after(pause_s: float, every_s: float, *, worked: bool) -> float:
    """Seconds until the next process, after the last pause: twice as many each time that there was nothing to do."""
    return every_s if worked or not pause_s else min(2 * pause_s, max(every_s, LONGEST_S))


class Runner:
    """Starts `command` whenever questions wait; it looks at them, does all generations that follow, and ends."""

    def __init__(
        self,
        home: Path,
        command: Sequence[str],
        wishes: Wishes,
        generations: SqliteGenerations,
        *,
        published: Callable[[Generation], Awaitable[None]],
        every_s: float = EVERY_S,
    ) -> None:
        """`published` is awaited with each generation whose variant is in the catalogue now."""
        self._home = home
        self._command = list(command)
        self._wishes = wishes
        self._generations = generations
        self._published = published
        self._every_s = every_s
        self._under_way: set[str] = set()
        self._worked = False
        """Whether there were generations since the last process started."""

    async def keep_running(self) -> None:
        """Until cancelled; what was queued or running when the last platform stopped comes first."""
        due, pause_s = await self._look(), 0.0
        while True:
            if not due:
                await self._wishes.some.wait()
            self._worked = False
            asked = self._wishes.take()
            if not (asked or due):
                await asyncio.sleep(self._every_s)
                continue
            try:
                await asyncio.to_thread(self._generations.ask, *asked)
                await self._run()
            except (RegistryError, OSError) as fault:
                log.warning("variants cannot be generated: %s", fault)
            due, pause_s = False, pause_after(pause_s, self._every_s, worked=self._worked)
            await asyncio.sleep(pause_s)

    async def _run(self) -> None:
        """One process from start to end; it is stopped when this is cancelled."""
        with (self._home / LOG).open("wb") as sink:
            child = spawn(self._command, os.environ, self._home, sink.fileno())
        ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        child.watch(ended.set_result)
        try:
            while not ended.done():
                await asyncio.wait([ended], timeout=LOOK_S)
                await self._look()
        finally:
            if not ended.done():
                child.signal(signal.SIGTERM)
                await asyncio.wait([ended], timeout=STOP_S)
                child.signal(signal.SIGKILL)
                await ended
        if ended.result() != 0:
            log.warning("generating ended with %s; see %s", ended.result(), self._home / LOG)

    async def _look(self) -> bool:
        """See how far generations are; whether there is anything to do."""
        try:
            pending, under_way = await asyncio.to_thread(
                lambda: (self._generations.pending(), self._generations.under_way())
            )
            self._wishes.see(under_way)
            before, self._under_way = self._under_way, {generation.id for generation in under_way.values()}
            self._worked = self._worked or bool(before | self._under_way)
            for id_ in sorted(before - self._under_way):
                generation = await asyncio.to_thread(self._generations.generation, id_)
                if generation.state is GenerationState.PUBLISHED:
                    await self._published(generation)
        except RegistryError as fault:
            log.warning("the generations cannot be followed: %s", fault)
            return False
        return bool(pending or under_way)
