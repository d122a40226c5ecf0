"""What was asked in vain is noted once, and who asks again learns of the generation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway.errors import Infeasible
from gateway.generation import wishes as module
from gateway.generation.wishes import Wishes, expected
from gateway.virtual_time import run_virtually
from registry.generations import Asked, Generating, Generation, GenerationState
from registry.model import Placement, Recipe, Slo

World = Callable[..., Any]
STRICT = {"latency_ms": 1.0, "on_infeasible": "strict"}
ASKED = Asked("sum", Slo(latency_ms=1.0))
GENERATION = Generation("j", "sum", "trees-5", Recipe("trees", "large"), "trees-5", "b", GenerationState.QUEUED, "now")


def wished(world: Any) -> Wishes:
    made = Wishes(clock=world.clock)
    world.service.generate_with(made.observe, made.generating)
    return made


def test_strict_and_best_effort_ask_the_same_and_once(make_world: World) -> None:
    async def scenario() -> None:
        world = make_world()
        wishes = wished(world)
        await world.predict()
        assert not wishes.some.is_set()
        with pytest.raises(Infeasible) as refused:
            await world.predict(STRICT)
        assert "generating" not in refused.value.details
        answer = await world.predict({"latency_ms": 1.0})
        assert answer.decision.generating is None
        assert wishes.some.is_set()
        assert wishes.take() == (ASKED,)
        assert not wishes.some.is_set()
        await world.predict({"latency_ms": 1.0})
        assert wishes.take() == ()

    run_virtually(scenario())


def test_who_asks_again_learns_of_the_generation(make_world: World) -> None:
    async def scenario() -> None:
        world = make_world()
        wishes = wished(world)
        wishes.see({ASKED.key: GENERATION})
        with pytest.raises(Infeasible, match="j is making a variant that may hold it") as refused:
            await world.predict(STRICT)
        assert refused.value.details["generating"] == {
            "generation": "j",
            "recipe": {"generator": "trees", "parent": "large", "parameters": []},
        }
        answer = await world.predict({"latency_ms": 1.0})
        assert answer.decision.generating == Generating("j", GENERATION.recipe)
        assert (await world.predict({"latency_ms": 2.0})).decision.generating is None
        assert (await world.predict()).decision.generating is None
        wishes.see({})
        assert (await world.predict({"latency_ms": 1.0})).decision.generating is None

    run_virtually(scenario())


def test_a_question_is_looked_at_again_later_or_when_the_catalogue_has_changed(make_world: World) -> None:
    async def scenario() -> None:
        world = make_world()
        wishes = wished(world)
        await world.predict({"latency_ms": 1.0})
        assert wishes.take() == (ASKED,)
        world.snapshots.replace(world.catalogue.at(7))
        await world.predict({"latency_ms": 1.0})
        assert wishes.take() == (ASKED,)
        record = world.records[-1]
        later = Wishes(clock=iter([0.0, 59.0, 60.0]).__next__)
        seen = []
        for _ in range(3):
            later.observe(record)
            seen.append(len(later.take()))
        assert seen == [1, 0, 1]

    run_virtually(scenario())


def test_each_broken_bound_counts(make_world: World) -> None:
    async def scenario() -> None:
        world = make_world()
        wishes = wished(world)
        for hints in ({"latency_ms": 1.0}, {"min_accuracy": 0.999}, {"max_cost_usd": 1e-12}):
            await world.predict(hints)
            assert [asked.slo for asked in wishes.take()] == [Slo(**hints)]

    run_virtually(scenario())


def test_no_more_wait_than_can_be_looked_at(make_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING", 2)
    monkeypatch.setattr(module, "REMEMBERED", 1)

    async def scenario() -> None:
        world = make_world()
        wishes = wished(world)
        for ms in (1.0, 1.1, 1.2):
            await world.predict({"latency_ms": ms})
        assert [asked.slo.latency_ms for asked in wishes.take()] == [1.0, 1.1]
        await world.predict({"latency_ms": 1.2})
        await world.predict({"latency_ms": 1.0})  # forgotten meanwhile
        assert [asked.slo.latency_ms for asked in wishes.take()] == [1.2, 1.0]

    run_virtually(scenario())


def test_what_a_variant_holds_where_it_is_warm_lacks_no_variant_and_is_noted_each_time(make_world: World) -> None:
    async def scenario() -> None:
        world = make_world({("small", "a"): 5.0, ("large", "b"): 20.0}, load_ms=1000.0)
        wishes = Wishes(
            clock=world.clock, expected=lambda asked: expected(asked, *world.snapshots.view(), world.clock())
        )
        world.service.generate_with(wishes.observe, wishes.generating)
        for _ in range(2):
            with pytest.raises(Infeasible):
                await world.predict({"latency_ms": 30.0, "on_infeasible": "strict"})
            assert wishes.some.is_set()
            assert wishes.take() == ()
        await world.predict({"latency_ms": 1.0})
        (asked,) = wishes.take()
        assert asked.key == ASKED.key
        assert dict(asked.expected_ms) == {Placement("sum/small", "a").id: 5.0, Placement("sum/large", "b").id: 20.0}

    run_virtually(scenario())


def test_what_passes_before_a_decision_is_told_apart(make_world: World) -> None:
    async def scenario() -> None:
        world = make_world()
        wishes = wished(world)
        now = world.clock()
        await world.predict({"latency_ms": 1.0}, arrived=now - 0.5)
        (asked,) = wishes.take()
        assert asked.before_ms == pytest.approx(500.0)
        assert asked.key == ASKED.key
        catalogue, fleet = world.snapshots.view()
        found = expected(asked, catalogue, fleet, now)
        assert found is not None
        assert dict(found.expected_ms)[Placement("sum/small", "a").id] == pytest.approx(5.0)
        assert expected(replace(asked, task="gone"), catalogue, fleet, now) is None

    run_virtually(scenario())
