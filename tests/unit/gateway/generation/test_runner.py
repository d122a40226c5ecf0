"""One process at a time, when there is something to do; it is stopped with the platform."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from gateway.generation import runner
from gateway.generation.runner import EVERY_S, LOG, LONGEST_S, Runner, pause_after
from gateway.generation.wishes import Wishes
from registry.generations import Asked, Generation, GenerationState
from registry.model import Recipe, Slo
from registry.stores.generations import FILE, SqliteGenerations

ASKED = Asked("t", Slo(latency_ms=1.0))
SAY = "import sys; print('x', file=open(sys.argv[1], 'w'))"
"""Says through a FIFO that it has been started."""
REST = f"{SAY}; import signal; signal.pause()"


class Home:
    """A runner over a folder, and how to wait for what it does."""

    def __init__(self, path: Path) -> None:
        self.path, self.mark = path, path / "mark"
        os.mkfifo(self.mark)
        self.wishes = Wishes()
        self.generations = SqliteGenerations(path / FILE)
        self.published: asyncio.Queue[Generation] = asyncio.Queue()

    @asynccontextmanager
    async def running(self, program: str) -> AsyncIterator[asyncio.Task[None]]:
        command = [sys.executable, "-c", program, str(self.mark)]
        self.runner = Runner(
            self.path, command, self.wishes, self.generations, published=self.published.put, every_s=0.01
        )
        task = asyncio.create_task(self.runner.keep_running())
        try:
            yield task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def started(self) -> None:
        """Return when the next process has said so."""
        assert await asyncio.wait_for(asyncio.to_thread(self.mark.read_text), 20) == "x\n"

    def wish(self) -> None:
        self.wishes._waiting[ASKED.key] = ASKED
        self.wishes.some.set()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path)
    yield made
    made.generations.close()


def queued(generations: SqliteGenerations) -> Generation:
    generations.ask(ASKED)
    generation = generations.queue("t", "trees-5", "trees-5", Recipe("trees", "f"), basis="b")
    generations.answer(ASKED, generation)
    return generation


async def test_a_process_is_started_for_what_waits_and_again_for_what_comes_later(home: Home) -> None:
    async with home.running(SAY):
        home.wish()
        await home.started()
        assert home.generations.pending() == (ASKED,)
        home.wish()
        await home.started()


async def test_what_was_left_is_done_first_and_is_known(home: Home) -> None:
    generation = queued(home.generations)
    async with home.running(SAY):
        await home.started()
        assert home.wishes._under_way == {ASKED.key: generation}


async def test_what_was_published_meanwhile_is_told(home: Home) -> None:
    generation = queued(home.generations)
    home.generations.start_next()
    async with home.running(REST):
        await home.started()
        ended = home.generations.move(generation.id, GenerationState.PUBLISHED)
        assert await asyncio.wait_for(home.published.get(), 20) == ended


def test_looking_in_vain_is_done_ever_less_often() -> None:
    pauses = [0.0]
    for worked in (False,) * 6 + (True, False):
        pauses.append(pause_after(pauses[-1], EVERY_S, worked=worked))
    assert pauses[1:] == [EVERY_S, 10.0, 20.0, 40.0, LONGEST_S, LONGEST_S, EVERY_S, 10.0]


async def test_a_generation_that_was_done_is_work(home: Home) -> None:
    generation = queued(home.generations)
    home.generations.start_next()
    async with home.running(REST):
        await home.started()
        home.generations.move(generation.id, GenerationState.PUBLISHED)
        await asyncio.wait_for(home.published.get(), 20)
        assert home.runner._worked


async def test_stopping_stops_the_process(home: Home) -> None:
    queued(home.generations)
    async with asyncio.timeout(20), home.running(REST):
        await home.started()


async def test_a_process_that_fails_is_said_and_does_not_end_the_runner(home: Home) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    handler = logging.Handler()
    handler.emit = lambda record: said.put_nowait(record.getMessage())  # type: ignore[method-assign]
    runner.log.addHandler(handler)
    try:
        async with home.running("import sys; print('broken'); sys.exit(3)") as task:
            home.wish()
            assert "generating ended with 3" in await asyncio.wait_for(said.get(), 20)
            assert not task.done()
    finally:
        runner.log.removeHandler(handler)
    assert (home.path / LOG).read_text() == "broken\n"
