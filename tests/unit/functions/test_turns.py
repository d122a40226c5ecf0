"""Whoever is to be alone begins when all others have ended, one after the other; the others begin at once."""

from __future__ import annotations

import asyncio

from functions.aws.turns import Turns


async def test_who_is_alone_waits_for_the_others_and_for_who_came_before() -> None:
    turns, told = Turns(), []
    ends = {name: asyncio.Event() for name in "abcd"}

    async def together(name: str) -> None:
        with turns.together():
            told.append(name)
            await ends[name].wait()

    async def alone(name: str) -> None:
        async with turns.alone():
            told.append(name)
            await ends[name].wait()

    async def ended(name: str) -> None:
        ends[name].set()
        for _ in range(5):  # whoever waited for that has begun by then
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for run in (together("a"), alone("c"), together("b"), alone("d")):
            group.create_task(run)
        await asyncio.sleep(0)
        assert told == ["a", "b"]
        await ended("a")
        assert told == ["a", "b"]
        await ended("b")
        assert told == ["a", "b", "c"]
        await ended("c")
        assert told == ["a", "b", "c", "d"]
        await ended("d")


async def test_nobody_waits_for_who_has_failed() -> None:
    turns = Turns()
    for _ in range(2):
        try:
            with turns.together():
                raise ValueError
        except ValueError:
            async with turns.alone():
                pass
