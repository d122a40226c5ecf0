"""One request, one answer: what is chosen, what happens when it fails, and what is recorded."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from gateway.auth import Principal
from gateway.errors import (
    CorruptArtifact,
    DeadlineExceeded,
    EnvironmentLost,
    ExecutionFailed,
    Infeasible,
    NotReady,
    Overloaded,
    Throttled,
    Unavailable,
    UnknownTask,
    Unprocessable,
)
from gateway.virtual_time import run_virtually
from scheduler.events import Measured, PlacementFailed, VariantQuarantined

BOTH = {("small", "a"): 5.0, ("large", "b"): 20.0}


def test_serves_the_best_placement_and_says_so(make_world):
    async def main():
        world = make_world(BOTH)
        answer = await world.predict(id="mine")
        np.testing.assert_array_equal(answer.outputs["y"], [[3.0]])
        served = answer.decision
        assert (answer.id, served.variant, served.tier, served.slo_met) == ("mine", "sum/large", "b", True)
        assert served.cold_start
        assert served.cost_usd > 0
        assert [a.error for a in served.attempts] == [""]
        assert [r.served for r in world.records] == [served]

    run_virtually(main())


def test_arrival_counts_against_the_latency(make_world):
    async def main():
        world = make_world(BOTH)
        await asyncio.sleep(0.05)
        answer = await world.predict({"latency_ms": 30, "objective": "cost"}, arrived=world.clock() - 0.04)
        assert answer.decision.latency_ms == pytest.approx(45.0)
        assert answer.decision.broken == ("latency_ms",)

    run_virtually(main())


@pytest.mark.parametrize(
    "fault",
    [NotReady("zero copies"), Throttled("full"), EnvironmentLost("killed"), ExecutionFailed("bad")],
    ids=lambda fault: type(fault).__name__,
)
def test_falls_back_to_the_next_placement(make_world, fault):
    async def main():
        world = make_world(BOTH)
        world.backends["b"].script.append(fault)
        served = (await world.predict()).decision
        assert served.variant == "sum/small"
        assert [type(fault).__name__ in a.error for a in served.attempts] == [True, False]

    run_virtually(main())


def test_a_tier_that_refused_is_not_asked_twice_by_one_request(make_world):
    async def main():
        world = make_world({("small", "a"): 5.0, ("large", "b"): 20.0, ("medium", "b"): 10.0})
        world.backends["b"].script.extend([Throttled("full"), AssertionError("asked twice")])
        assert (await world.predict()).decision.tier == "a"

    run_virtually(main())


def test_a_refusing_tier_is_avoided_by_the_next_requests_until_it_may_be_ready(make_world):
    async def main():
        world = make_world(BOTH)
        world.backends["b"].script.append(NotReady("scaling up", retry_after_s=60))
        await world.predict()
        assert [a.tier for a in (await world.predict()).decision.attempts] == ["a"]
        await asyncio.sleep(61)
        assert (await world.predict()).decision.tier == "b"

    run_virtually(main())


def test_a_corrupt_variant_is_quarantined_and_the_next_one_serves(make_world, caplog):
    async def main():
        world = make_world(BOTH)
        world.backends["b"].corrupt.add(world.catalogue.variants["sum/large"].artifact)
        first = (await world.predict()).decision
        assert (first.variant, len(first.attempts)) == ("sum/small", 2)
        assert CorruptArtifact.__name__ in first.attempts[0].error
        again = (await world.predict()).decision
        assert (again.variant, len(again.attempts)) == ("sum/small", 1)
        assert [r.levelname for r in caplog.records if "sum/large is quarantined" in r.message] == ["WARNING"]

    run_virtually(main())


def test_inputs_that_fail_everywhere_take_no_placement_away(make_world):
    async def main():
        world = make_world(BOTH)
        for backend in world.backends.values():
            backend.script.append(ExecutionFailed("division by zero"))
        with pytest.raises(Unavailable) as refused:
            await world.predict()
        assert [a["placement"] for a in refused.value.details["attempts"]] == ["sum/large@b:1", "sum/small@a:1"]
        assert "sum/small@a:1: ExecutionFailed: division by zero" in str(refused.value)
        assert (await world.predict()).decision.variant == "sum/large"

    run_virtually(main())


def test_one_that_only_lost_its_environment_is_tried_again_when_all_else_failed(make_world):
    async def main():
        world = make_world({("large", "b"): 20.0})
        world.backends["b"].script.append(EnvironmentLost("killed"))
        served = (await world.predict()).decision
        assert [a.error for a in served.attempts] == ["EnvironmentLost: killed", ""]
        world.backends["b"].script.extend([EnvironmentLost("killed"), EnvironmentLost("killed")])
        with pytest.raises(Unavailable):
            await world.predict()

    run_virtually(main())


def test_a_placement_is_avoided_after_it_lost_two_environments_in_a_row(make_world):
    async def main():
        world = make_world(BOTH)
        tried = []
        for fault in (EnvironmentLost("1"), None, EnvironmentLost("2"), EnvironmentLost("3"), None):
            world.backends["b"].script.append(fault)
            tried.append([a.tier for a in (await world.predict()).decision.attempts])
        assert tried == [["b", "a"], ["b"], ["b", "a"], ["b", "a"], ["a"]]
        await asyncio.sleep(6)
        assert (await world.predict()).decision.tier == "b"

    run_virtually(main())


def test_a_placement_that_failed_where_another_answered_is_avoided_for_a_while(make_world):
    async def main():
        world = make_world(BOTH)
        world.backends["b"].script.append(ExecutionFailed("bad"))
        assert [a.tier for a in (await world.predict()).decision.attempts] == ["b", "a"]
        assert [a.tier for a in (await world.predict()).decision.attempts] == ["a"]
        await asyncio.sleep(6)
        assert (await world.predict()).decision.tier == "b"

    run_virtually(main())


def test_what_is_avoided_is_tried_all_the_same_when_all_else_failed(make_world):
    async def main():
        world = make_world(BOTH)
        world.backends["b"].script.append(ExecutionFailed("bad"))
        await world.predict()
        world.backends["a"].script.append(ExecutionFailed("bad"))
        assert [a.tier for a in (await world.predict()).decision.attempts] == ["a", "b"]

    run_virtually(main())


def test_what_is_avoided_is_better_than_nothing(make_world, alice):
    async def main():
        world = make_world(BOTH)
        for placement in world.catalogue.placements_of("sum"):
            world.snapshots.emit(PlacementFailed(placement.id, "bad", 5.0, world.clock()))
        answer = await world.predict()
        assert [a.error for a in answer.decision.attempts] == [""]
        assert world.service.explain(alice, answer.decision.decision_id)[1].ranked[0].placement.tier == "b"

    run_virtually(main())


def test_throttled_everywhere_is_overload_with_a_time_to_come_back(make_world):
    async def main():
        world = make_world(BOTH)
        world.backends["a"].script.append(Throttled("full", 7.0))
        world.backends["b"].script.append(Throttled("full", 3.0))
        with pytest.raises(Overloaded) as refused:
            await world.predict()
        assert refused.value.details["retry_after_s"] == 3.0
        with pytest.raises(Overloaded) as again:
            await world.predict()
        assert again.value.details["retry_after_s"] == pytest.approx(3.0)

    run_virtually(main())


def test_best_effort_waits_past_the_bound_and_says_so(make_world):
    async def main():
        world = make_world({("large", "b"): 2.0}, timing=lambda *_: _times(run_ms=300))
        answer = await world.predict({"latency_ms": 100})
        assert (answer.decision.slo_met, answer.decision.broken) == (False, ("latency_ms",))
        assert answer.decision.latency_ms == pytest.approx(300)

    run_virtually(main())


def test_best_effort_ends_at_the_tiers_timeout(make_world):
    async def main():
        world = make_world({("large", "b"): 2.0}, timing=lambda *_: _times(run_ms=60_000))
        with pytest.raises(DeadlineExceeded):
            await world.predict({"latency_ms": 100})
        assert world.clock() == pytest.approx(10.0)

    run_virtually(main())


def test_strict_ends_at_the_bound(make_world):
    async def main():
        world = make_world({("large", "b"): 2.0}, timing=lambda *_: _times(run_ms=60_000))
        with pytest.raises(DeadlineExceeded):
            await world.predict({"latency_ms": 100, "on_infeasible": "strict"})
        assert world.clock() == pytest.approx(0.1)

    run_virtually(main())


def test_a_backend_that_never_answers_is_given_up_on(make_world):
    async def main():
        world = make_world({("large", "b"): 2.0})
        world.backends["b"].invoke = _never
        with pytest.raises(DeadlineExceeded):
            await world.predict()
        assert world.clock() < 10.5

    run_virtually(main())


def test_strict_and_infeasible_is_refused_with_the_nearest_slo(make_world):
    async def main():
        world = make_world(BOTH)
        with pytest.raises(Infeasible) as refused:
            await world.predict({"min_accuracy": 0.999, "on_infeasible": "strict"})
        assert refused.value.details["nearest"]["min_accuracy"] <= 0.99
        assert refused.value.details["broken"] == ["min_accuracy"]
        assert str(refused.value).endswith("the nearest SLO that can be held has min_accuracy=0.99")

    run_virtually(main())


def test_best_effort_and_infeasible_is_served_and_flagged(make_world):
    async def main():
        served = (await make_world(BOTH).predict({"min_accuracy": 0.999})).decision
        assert (served.slo_met, served.broken) == (False, ("min_accuracy",))

    run_virtually(main())


def test_a_tier_without_a_backend_is_not_ready(make_world):
    async def main():
        world = make_world(BOTH)
        del world.backends["b"]
        assert [a.tier for a in (await world.predict()).decision.attempts] == ["b", "a"]
        assert [a.tier for a in (await world.predict()).decision.attempts] == ["a"]

    run_virtually(main())


def test_a_task_without_placements_is_unavailable(make_world):
    async def main():
        service = make_world(BOTH).service
        with pytest.raises(Unavailable, match="nothing can serve"):
            await service.predict(Principal("bob", "globex"), "private", {"x": np.ones((1, 3), np.float32)})

    run_virtually(main())


def test_queues_that_outlast_the_request_are_overload(make_world):
    async def main():
        world = make_world({("large", "b"): 20.0})
        slow = [asyncio.create_task(world.predict()) for _ in range(40)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as refused:
            await world.predict({"latency_ms": 1})
        assert refused.value.details["retry_after_s"] > 0
        await asyncio.gather(*slow, return_exceptions=True)

    run_virtually(main())


def test_more_rows_than_any_placement_takes_names_the_most(make_world):
    async def main():
        with pytest.raises(Unprocessable) as refused:
            await make_world(BOTH).predict(inputs={"x": np.ones((65, 3), np.float32)})
        assert refused.value.details["most"] == 64

    run_virtually(main())


@pytest.mark.parametrize(
    ("inputs", "tensor"),
    [
        ({"x": np.ones((1, 4), np.float32)}, "x"),
        ({"x": np.ones((1, 3), np.float64)}, "x"),
        ({"x": np.ones(3, np.float32)}, "x"),
        ({"x": np.full((1, 3), np.nan, np.float32)}, "x"),
        ({}, "x"),
        ({"x": np.ones((1, 3), np.float32), "z": np.ones((1, 3), np.float32)}, "z"),
    ],
)
def test_bad_tensors_are_named_and_nothing_is_recorded(make_world, inputs, tensor):
    async def main():
        world = make_world(BOTH)
        with pytest.raises(Unprocessable) as refused:
            await world.predict(inputs=inputs)
        assert refused.value.details["tensor"] == tensor
        assert world.records == []

    run_virtually(main())


def test_bad_hints_name_the_field(make_world):
    async def main():
        with pytest.raises(Unprocessable) as refused:
            await make_world(BOTH).predict({"latency_ms": -1})
        assert refused.value.details["field"] == "slo.latency_ms"

    run_virtually(main())


def test_foreign_and_unknown_tasks_are_refused(make_world, alice):
    async def main():
        world = make_world(BOTH)
        for task in ("private", "nothing"):
            with pytest.raises(UnknownTask, match=f"no task '{task}'"):
                await world.predict(task=task)
        assert [t.name for t in world.service.tasks(alice)] == ["sum"]
        assert len(world.service.tasks(Principal("bob", "globex"))) == 2

    run_virtually(main())


def test_a_decision_is_explained_to_its_tenant_only(make_world, alice):
    async def main():
        world = make_world(BOTH)
        decision_id = (await world.predict()).decision.decision_id
        await world.predict()
        record, decision = world.service.explain(alice, decision_id)
        assert record.served.decision_id == decision_id
        assert decision.ranked[0].placement.id == record.served.placement
        assert "sum/small@a:1" in decision.why_not()
        with pytest.raises(UnknownTask):
            world.service.explain(Principal("bob", "globex"), decision_id)

    run_virtually(main())


def test_a_failed_request_can_be_explained_too(make_world, alice):
    async def main():
        world = make_world(BOTH)
        for backend in world.backends.values():
            backend.script.append(ExecutionFailed("bad"))
        with pytest.raises(Unavailable) as refused:
            await world.predict()
        record, _ = world.service.explain(alice, refused.value.details["decision_id"])
        assert record.error is refused.value
        assert record.served is None

    run_virtually(main())


def test_a_plan_runs_and_records_nothing(make_world, alice):
    async def main():
        world = make_world(BOTH)
        decision = world.service.plan(alice, "sum", {"min_accuracy": 0.95}, rows=4)
        assert decision.ranked[0].placement.variant == "sum/large"
        assert world.records == []
        assert all(backend.status().idle == 0 for backend in world.backends.values())

    run_virtually(main())


def _times(**given):
    from gateway.backends.fake import Times

    return Times(**given)


async def _never(invocation):
    await asyncio.Event().wait()


THREE = {("small", "b"): 5.0, ("medium", "b"): 10.0, ("large", "b"): 20.0}
ROOM = {"latency_ms": 500, "min_accuracy": 0.85, "on_infeasible": "strict"}


def choosing(world, variant):
    """Have tier b answer with this variant where it is left the choice; returns the floors that it was given."""
    backend, floors = world.backends["b"], []
    invoke = backend.invoke

    async def chosen(invocation):
        floors.append(invocation.floor)
        return replace(await invoke(invocation), variant=None if invocation.floor is None else variant)

    backend.invoke = chosen
    return floors


def test_a_tier_may_answer_with_another_variant_that_holds_the_floor_and_that_is_what_was_served(make_world):
    async def main():
        world, events = make_world(THREE), []
        emit = world.snapshots.emit
        world.service._dispatcher._emit = lambda event: (events.append(event), emit(event))
        floors = choosing(world, "sum/medium")
        served = (await world.predict(ROOM)).decision
        assert floors == [0.85]
        assert (served.variant, served.placement, served.accuracy) == ("sum/medium", "sum/medium@b:1", 0.9)
        assert served.predicted_latency_ms == pytest.approx(10.0)
        assert (served.slo_met, served.attempts[-1].placement) == (True, "sum/large@b:1")
        assert "asked for sum/large@b:1, b chose sum/medium, which holds min_accuracy too" in served.reason
        measured = [event.placement for event in events if isinstance(event, Measured)]
        assert measured == ["sum/medium@b:1"]
        assert not world.snapshots.view()[1].tier("b").outstanding

    run_virtually(main())


@pytest.mark.parametrize(
    "hints",
    [
        {"min_accuracy": None},
        {"latency_ms": None},
        {"on_infeasible": "best_effort"},
        {"objective": "cost"},
        {"objective": "latency"},
        {"max_cost_usd": 1.0},
    ],
    ids=str,
)
def test_a_request_that_leaves_no_room_is_answered_by_what_was_chosen(make_world, hints):
    async def main():
        world = make_world(THREE)
        floors = choosing(world, "sum/medium")
        served = (await world.predict(ROOM | hints)).decision
        assert floors == [None]
        assert served.placement == served.attempts[-1].placement
        assert "asked for" not in served.reason

    run_virtually(main())


def test_an_answer_of_a_variant_that_is_no_candidate_is_none(make_world):
    async def main():
        world = make_world({**THREE, ("small", "a"): 5.0})
        world.snapshots.emit(VariantQuarantined("sum/medium", "changed", 0.0))
        choosing(world, "sum/medium")
        served = (await world.predict(ROOM)).decision
        assert "sum/medium, which is no candidate" in served.attempts[0].error
        assert served.placement == "sum/small@a:1"

    run_virtually(main())
