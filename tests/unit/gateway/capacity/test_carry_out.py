"""Actions become what backends do, at most so many at a time, and each has exactly one outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway.capacity.carry_out import Result, carry_out
from gateway.errors import Throttled
from gateway.virtual_time import run_virtually
from registry.model import Placement
from scheduler.actions import Action, Provision, Shrink, Unload, Warm

World = Callable[..., Any]
SMALL, LARGE = Placement("sum/small", "a"), Placement("sum/large", "b")
PROFILES = {("small", "a"): 5.0, ("medium", "a"): 10.0, ("large", "b"): 20.0}


async def carried(world: Any, *actions: Action, **options: Any) -> list[tuple[str, str]]:
    outcomes = await carry_out(actions, world.backends, world.catalogue, **options)
    assert [outcome.action for outcome in outcomes] == list(actions)
    return [(outcome.result.value, outcome.why) for outcome in outcomes]


def resident(world: Any, tier: str) -> dict[str, int]:
    return dict(world.backends[tier].status().resident)


def test_each_action_is_carried_out_once_however_often_it_is_given(make_world: World) -> None:
    async def scenario() -> None:
        world = make_world(PROFILES)
        actions = (Warm(SMALL, "", 2), Warm(LARGE, ""), Provision("b", 1, ""))
        assert await carried(world, *actions) == [("done", "")] * 3
        assert await carried(world, *actions) == [("already so", "")] * 3
        assert resident(world, "a") == {"sum/small": 2}
        assert world.backends["b"].provisioned == 1
        gone = (Unload(SMALL, ""), Shrink("b", 0, ""))
        assert await carried(world, *gone) == [("done", "")] * 2
        assert await carried(world, *gone) == [("already so", "")] * 2
        assert (resident(world, "a"), world.backends["a"].status().idle) == ({}, 2)
        assert world.backends["b"].status().idle == 0

    run_virtually(scenario())


def test_one_that_fails_says_why_and_spoils_no_other(make_world: World) -> None:
    async def scenario() -> None:
        world = make_world(PROFILES)
        outcomes = await carried(
            world,
            Warm(Placement("sum/small", "nowhere"), ""),
            Warm(SMALL, "", 99),
            Warm(Placement("sum/gone", "b"), ""),
            Warm(LARGE, ""),
            Provision("a", 99, ""),
        )
        assert [result for result, _ in outcomes] == ["failed", "failed", "failed", "done", "failed"]
        for (_, why), said in zip(outcomes, ("nowhere", "4 environments", "sum/gone@b", "", "allows 4"), strict=True):
            assert said in why
        assert resident(world, "b") == {"sum/large": 1}

    run_virtually(scenario())


def test_what_nobody_expected_is_a_failure_of_that_action_alone(
    make_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("of all things")

    async def scenario() -> None:
        world = make_world(PROFILES)
        monkeypatch.setattr(world.backends["a"], "ensure", broken)
        outcomes = await carried(world, Warm(SMALL, ""), Warm(LARGE, ""))
        assert outcomes == [("failed", "ZeroDivisionError: of all things"), ("done", "")]

    run_virtually(scenario())


def test_room_is_made_before_it_is_taken_and_one_of_a_tier_is_under_way(
    make_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        world = make_world(PROFILES | {("small", "b"): 5.0})
        done: list[str] = []
        under_way = most = 0

        def watched(tier: str, name: str) -> Any:
            async def act(*_: Any, **__: Any) -> bool:
                nonlocal under_way, most
                under_way += 1
                most = max(most, under_way)
                await asyncio.sleep(1)
                under_way -= 1
                done.append(f"{tier} {name}")
                return True

            return act

        await carry_out([Warm(SMALL, ""), Warm(LARGE, "")], world.backends, world.catalogue)
        for tier, backend in world.backends.items():
            for name in ("ensure", "unload", "release", "provision"):
                monkeypatch.setattr(backend, name, watched(tier, name))
        medium = Placement("sum/medium", "a")
        actions = (Warm(medium, ""), Provision("a", 1, ""), Unload(SMALL, ""), Warm(SMALL, "", 2), Unload(LARGE, ""))
        assert await carried(world, *actions, at_once=1) == [("done", "")] * 5
        assert most == 1
        assert [each for each in done if each[0] == "a"] == ["a unload", "a provision", "a ensure", "a ensure"]
        done.clear()
        began = world.clock()
        await carried(world, *actions)
        assert (most, world.clock() - began) == (2, 4.0)

    run_virtually(scenario())


def test_others_have_their_turn_between_two_that_are_so_already(make_world: World) -> None:
    async def scenario() -> None:
        world, turns = make_world(PROFILES), 0
        await carried(world, Warm(SMALL, ""))

        async def turning() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(turning())
        assert await carried(world, *[Warm(SMALL, "")] * 50) == [("already so", "")] * 50
        other.cancel()
        assert turns >= 50

    run_virtually(scenario())


def test_a_backend_without_the_means_says_so(make_world: World) -> None:
    class Plain:
        """Neither unloads nor is paid for by the copy."""

        def __init__(self, inner: Any) -> None:
            self.tier, self.status, self.release, self.ensure = inner.tier, inner.status, inner.release, inner.ensure

    async def scenario() -> None:
        world = make_world(PROFILES)
        await world.backends["a"].ensure(SMALL, world.catalogue.variants["sum/small"], 1)
        world.backends["a"] = Plain(world.backends["a"])
        outcomes = await carried(world, Unload(SMALL, ""), Provision("a", 1, ""))
        assert outcomes == [
            (Result.FAILED, "a cannot give sum/small up by itself"),
            (Result.FAILED, "environments of tier a are not paid for by the copy"),
        ]

    run_virtually(scenario())


async def test_a_caller_that_leaves_is_no_failure(make_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(PROFILES)
    begun = asyncio.Event()

    async def endless(*_: Any, **__: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(world.backends["a"], "ensure", endless)
    running = asyncio.create_task(carry_out([Warm(SMALL, "")], world.backends, world.catalogue))
    async with asyncio.timeout(5):
        await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_tier_that_refuses_is_quoted(make_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(PROFILES)

    async def full(*_: Any, **__: Any) -> None:
        raise Throttled("all busy")

    monkeypatch.setattr(world.backends["a"], "ensure", full)
    assert await carried(world, Warm(SMALL, "")) == [("failed", "all busy")]
