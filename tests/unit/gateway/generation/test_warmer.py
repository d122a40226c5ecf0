"""What would hold an SLO if it were resident is loaded once, in the background, one placement of a tier at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from gateway.errors import Infeasible
from gateway.generation import warmer as module
from gateway.generation.warmer import AGAIN_S, Warmer
from gateway.virtual_time import run_virtually
from registry.catalogue import Catalogue
from registry.model import Placement
from scheduler.events import EnvironmentReady

World = Callable[..., Any]
PROFILES = {("small", "a"): 5.0, ("medium", "a"): 10.0, ("large", "a"): 40.0}
STRICT = {"latency_ms": 15.0, "on_infeasible": "strict"}


class Loads:
    """Stands for the backends' loading: notes what is to be loaded, and has it resident when told to go on."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.seen: list[tuple[str, int]] = []
        self.go = asyncio.Event()
        self.go.set()
        self.fault: Exception | None = None

    async def warm(self, placement: Placement, rows: int, catalogue: Catalogue) -> None:
        self.seen.append((placement.variant, rows))
        await self.go.wait()
        if self.fault is not None:
            raise self.fault
        now = self.world.clock()
        self.world.snapshots.emit(EnvironmentReady(placement.tier, "w", (placement.variant,), now))


@asynccontextmanager
async def warming(world: Any) -> AsyncIterator[Loads]:
    loads = Loads(world)
    warmer = Warmer(world.snapshots, loads.warm, clock=world.clock)
    world.service.watch_with(warmer.observe)
    running = asyncio.create_task(warmer.keep_running())
    try:
        yield loads
        assert not running.done()
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def refused(world: Any, hints: dict[str, Any] = STRICT) -> None:
    with pytest.raises(Infeasible):
        await world.predict(hints)


async def a_look() -> None:
    """Virtual time, in which whatever waits is looked at."""
    await asyncio.sleep(2 * module.EVERY_S)


def test_who_is_refused_is_served_when_they_ask_again(make_world: World) -> None:
    async def scenario() -> None:
        world = make_world(PROFILES, load_ms=1000.0)
        async with warming(world) as loads:
            await refused(world)
            assert loads.seen == []  # nothing on the request's path
            await a_look()
            assert loads.seen == [("sum/medium", 1)]
            assert (await world.predict(STRICT)).decision.variant == "sum/medium"
            await a_look()
            assert len(loads.seen) == 1

    run_virtually(scenario())


def test_best_effort_is_no_longer_late_where_another_was_resident(make_world: World) -> None:
    async def scenario() -> None:
        world = make_world(PROFILES, load_ms=1000.0)
        async with warming(world) as loads:
            await world.predict({"min_accuracy": 0.95})  # loads the slow one, which nobody else may be served by
            late = await world.predict({"latency_ms": 15.0})
            assert late.decision.variant == "sum/large"
            await a_look()
            assert loads.seen == [("sum/medium", 1)]
            again = await world.predict({"latency_ms": 15.0})
            assert again.decision.variant == "sum/medium"

    run_virtually(scenario())


def test_what_nothing_holds_and_what_holds_as_it_is_load_nothing(make_world: World) -> None:
    async def scenario() -> None:
        world = make_world(PROFILES, load_ms=1000.0)
        async with warming(world) as loads:
            await refused(world, {"latency_ms": 1.0, "on_infeasible": "strict"})
            await world.predict({"latency_ms": 5000.0})
            await a_look()
            assert loads.seen == []

    run_virtually(scenario())


def test_one_of_a_tier_at_a_time_and_none_again_too_soon(make_world: World) -> None:
    async def scenario() -> None:
        world = make_world(PROFILES, load_ms=1000.0)
        async with warming(world) as loads:
            loads.go.clear()
            loads.fault = RuntimeError("no room")
            await refused(world)
            await a_look()
            fast = STRICT | {"objective": "latency"}
            await refused(world, fast)
            await a_look()
            assert loads.seen == [("sum/medium", 1)]
            loads.go.set()
            await a_look()
            await refused(world)
            await refused(world, fast)
            await a_look()
            assert loads.seen == [("sum/medium", 1), ("sum/small", 1)]
            await asyncio.sleep(AGAIN_S)
            await refused(world)
            await a_look()
            assert loads.seen[2:] == [("sum/medium", 1)]

    run_virtually(scenario())


def test_a_task_that_is_gone_loads_nothing_and_few_questions_wait(
    make_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING", 1)

    async def scenario() -> None:
        world = make_world(PROFILES, load_ms=1000.0)
        async with warming(world) as loads:
            await refused(world)
            await refused(world, STRICT | {"objective": "latency"})
            world.snapshots.replace(world.catalogue.without_task("sum").at(2))
            await a_look()
            world.snapshots.replace(world.catalogue.at(3))
            await a_look()
            assert loads.seen == []

    run_virtually(scenario())


def test_a_substitute_answers_while_the_preferred_variant_loads(make_world: World) -> None:
    async def scenario() -> None:
        world = make_world(PROFILES, load_ms=1000.0)
        async with warming(world) as loads:
            await world.predict({"objective": "latency"})  # small is resident
            hints = {"latency_ms": 100.0}
            assert (await world.predict(hints)).decision.variant == "sum/small"
            assert loads.seen == []  # nothing on the request's path
            await a_look()
            assert loads.seen == [("sum/large", 1)]
            answer = await world.predict(hints)
            assert (answer.decision.variant, answer.decision.slo_met) == ("sum/large", True)
            await a_look()
            assert len(loads.seen) == 1

    run_virtually(scenario())


def test_a_question_that_was_answered_is_looked_at_once_in_ten_seconds(
    make_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []

    def look(request: Any, *_: Any) -> None:
        looks.append(request.task)

    monkeypatch.setattr(module, "to_load", look)

    async def scenario() -> None:
        world = make_world(PROFILES)
        async with warming(world):
            for _ in range(5):
                await world.predict({"latency_ms": 5000.0})
                await a_look()
            assert len(looks) == 1
            await asyncio.sleep(AGAIN_S)
            await world.predict({"latency_ms": 5000.0})
            await a_look()
            assert len(looks) == 2

    run_virtually(scenario())
