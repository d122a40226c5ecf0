"""The keeper's minute: arrivals are written down, a plan is made of what was, carried out and told; whatever fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from gateway.capacity.arrivals import Arrivals
from gateway.capacity.carry_out import Part, Result, tier_of
from gateway.capacity.keeper import AT_ONCE_MINUTES, PERIOD_S, Keeper
from gateway.capacity.report import Report, capacity_document
from gateway.virtual_time import run_virtually
from registry.activity import Usage
from registry.errors import Unavailable
from registry.model import Placement, Slo
from registry.stores.activity import MemoryActivity
from scheduler.actions import Provision, Shrink, Unload, Warm
from scheduler.capacity import Plan, plan
from scheduler.history import History
from scheduler.recurrence import DAY
from scheduler.requests import Request

World = Callable[..., Any]
PROFILES = {("small", "a"): 5.0, ("large", "b"): 20.0}
SMALL = Placement("sum/small", "a")
START = 29_000_000 * 60.0


class Planning:
    """Stands for the plan: keeps what it was asked and wants what it is told."""

    def __init__(self, *actions: Any) -> None:
        self.actions = actions
        self.asked: list[tuple[Any, ...]] = []

    def __call__(self, catalogue: Any, fleet: Any, demands: Any, now: float, **bounds: float) -> Plan:
        self.asked.append((demands, now, bounds))
        return Plan(self.actions, 0.25, 1.5, {}, {})


async def here(work: Callable[[], Any]) -> Any:
    return work()


def keeper_of(world: Any, planning: Any, **options: Any) -> Keeper:
    wall = options.pop("wall", lambda: START + world.clock())
    options = {"activity": MemoryActivity(), "arrivals": Arrivals(wall=wall), "budget_usd_per_h": 1.0} | options
    return Keeper(
        options.pop("activity"),
        world.snapshots,
        world.backends,
        planner=planning,
        clock=world.clock,
        wall=wall,
        in_thread=here,
        **options,
    )


def test_a_plan_is_made_of_ended_minutes_and_carried_out(make_world: World) -> None:
    async def scenario() -> None:
        world, planning, activity, told = make_world(PROFILES), Planning(Warm(SMALL, "soon")), MemoryActivity(), []
        arrivals = Arrivals(wall=lambda: START + world.clock())
        keeper = keeper_of(world, planning, activity=activity, arrivals=arrivals, reported=told.append)
        arrivals.note(Request("sum", Slo(), 4))
        report = await keeper.once()
        assert [m.usages for m in activity.between(0, 2**40)] == [(Usage("sum", 1, 4, Slo()),)]
        assert {d.ask for d in report.demands} == {1 / DAY}  # the minute has not ended
        assert [o.result for o in report.outcomes] == [Result.DONE]
        assert dict(world.backends["a"].status().resident) == {"sum/small": 1}
        await asyncio.sleep(60)
        again = await keeper.once()
        assert [(d.task, d.request.rows) for d in again.demands if d.ask > 1 / DAY] == [("sum", 4)]
        assert [o.result for o in again.outcomes] == [Result.ALREADY]
        assert told == [report, again]
        assert keeper.last is again
        assert planning.asked[1][1:] == (world.clock(), {"period_s": PERIOD_S, "budget_usd_per_h": 1.0})

    run_virtually(scenario())


def test_with_the_real_plan_what_comes_again_is_there_before_it(make_world: World) -> None:
    async def scenario() -> None:
        world, activity = make_world(PROFILES, load_ms=1000.0, slo=Slo(latency_ms=100.0)), MemoryActivity()
        for minute in range(30):
            activity.add(29_000_000 + minute, [Usage("sum", 2, 2, Slo(latency_ms=100.0))])
        await asyncio.sleep(30 * 60)
        report = await keeper_of(world, plan, activity=activity).once()
        assert {o.result for o in report.outcomes} == {Result.DONE}
        assert report.plan.residency
        answer = await world.predict()
        assert (answer.decision.cold_start, answer.decision.loaded, answer.decision.slo_met) == (False, False, True)
        nothing = await keeper_of(world, plan, activity=MemoryActivity()).once()
        assert {d.ask for d in nothing.demands} == {1 / DAY}
        assert nothing.plan.gain_usd_per_h < report.plan.gain_usd_per_h / 10

    run_virtually(scenario())


def test_nothing_is_planned_where_nothing_serves(make_world: World) -> None:
    async def scenario() -> None:
        world, activity = make_world(PROFILES, load_ms=1000.0, slo=Slo(latency_ms=100.0)), MemoryActivity()
        for minute in range(30):
            activity.add(29_000_000 + minute, [Usage("sum", 2, 2, Slo(latency_ms=100.0))])
        await asyncio.sleep(30 * 60)
        del world.backends["b"]
        report = await keeper_of(world, plan, activity=activity).once()
        assert {(tier_of(o.action), o.result) for o in report.outcomes} == {("a", Result.DONE)}
        assert set(report.plan.residency) == {"a"}
        stray = await keeper_of(world, Planning(Provision("b", 0, "")), activity=activity).once()
        assert stray.outcomes == ()

    run_virtually(scenario())


def test_another_that_reads_the_same_log_expects_the_same(make_world: World) -> None:
    async def scenario() -> None:
        world, activity = make_world(PROFILES), MemoryActivity()
        for minute in range(0, 40, 4):
            activity.add(29_000_000 + minute, [Usage("sum", 2, 2, Slo())])
        await asyncio.sleep(45 * 60)
        first, second = [await keeper_of(world, Planning(), activity=activity).once() for _ in range(2)]
        assert first.demands == second.demands != ()

    run_virtually(scenario())


def test_it_plans_once_a_period_and_outlives_what_fails(make_world: World, caplog: pytest.LogCaptureFixture) -> None:
    class Torn(MemoryActivity):
        """Out of reach at first."""

        faults = iter((Unavailable("activity", "the disk is full"), ZeroDivisionError("of all things")))

        def between(self, first: int, end: int) -> Any:
            for fault in self.faults:
                raise fault
            return super().between(first, end)

    async def scenario() -> None:
        world, planning = make_world(PROFILES), Planning()
        running = asyncio.create_task(keeper_of(world, planning, activity=Torn(), period_s=30.0).keep_running())
        await asyncio.sleep(125)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        assert [now for _, now, _ in planning.asked] == [60.0, 90.0, 120.0]

    run_virtually(scenario())
    assert "the disk is full" in caplog.text
    assert "of all things" in caplog.text


def test_arrivals_that_cannot_be_written_down_are_kept(make_world: World) -> None:
    class Full(MemoryActivity):
        """Takes nothing until it is told to."""

        full = True

        def add(self, minute: int, usages: Any) -> None:
            if self.full:
                raise Unavailable("activity", "the disk is full")
            super().add(minute, usages)

    async def scenario() -> None:
        world, activity, arrivals = make_world(PROFILES), Full(), Arrivals(wall=lambda: START)
        keeper = keeper_of(world, Planning(), activity=activity, arrivals=arrivals)
        arrivals.note(Request("sum", Slo()))
        with pytest.raises(Unavailable):
            await keeper.once()
        activity.full = False
        await keeper.write_down()
        assert len(activity.between(0, 2**40)) == 1

    run_virtually(scenario())


def test_what_was_written_down_before_a_fault_is_not_counted_again(make_world: World) -> None:
    class Fills(MemoryActivity):
        """Has room for one minute."""

        room = 1

        def add(self, minute: int, usages: Any) -> None:
            self.room -= 1
            if self.room < 0:
                raise Unavailable("activity", "the disk is full")
            super().add(minute, usages)

    async def scenario() -> None:
        world, activity = make_world(PROFILES), Fills()
        arrivals = Arrivals(wall=lambda: START + world.clock())
        keeper = keeper_of(world, Planning(), activity=activity, arrivals=arrivals)
        for _ in range(2):
            arrivals.note(Request("sum", Slo()))
            await asyncio.sleep(60)
        with pytest.raises(Unavailable):
            await keeper.write_down()
        activity.room = 9
        await keeper.write_down()
        assert [m.usages[0].requests for m in activity.between(0, 2**40)] == [1, 1]

    run_virtually(scenario())


def test_two_days_are_learnt_in_parts_and_come_to_the_same(make_world: World) -> None:
    class Asked(MemoryActivity):
        """Notes how much was asked for at once."""

        def __init__(self) -> None:
            super().__init__()
            self.spans: list[tuple[int, int]] = []

        def between(self, first: int, end: int) -> Any:
            self.spans.append((first, end))
            return super().between(first, end)

    async def scenario() -> None:
        world, activity, history = make_world(PROFILES), Asked(), History()
        for minute in range(-600, 0, 7):
            activity.add(29_000_000 + minute, [Usage("sum", 1, 1, Slo())])
        report = await keeper_of(world, Planning(), activity=activity).once()
        assert max(end - first for first, end in activity.spans) <= AT_ONCE_MINUTES
        assert [first for first, _ in activity.spans[1:]] == [end for _, end in activity.spans[:-1]]
        history.close(activity.between(0, 29_000_000), 29_000_000)
        assert report.demands == history.demands(world.catalogue) != ()

    run_virtually(scenario())


@pytest.mark.parametrize(("period_s", "planned_s", "minutes"), [(15.0, 60.0, 1), (60.0, 60.0, 1), (180.0, 180.0, 3)])
def test_a_plan_is_for_a_minute_at_least_and_for_all_until_the_next(
    make_world: World, period_s: float, planned_s: float, minutes: int
) -> None:
    async def scenario() -> None:
        world, planning, activity = make_world(PROFILES), Planning(), MemoryActivity()
        activity.add(29_000_000 - 3, [Usage("sum", 1, 1, Slo())])
        report = await keeper_of(world, planning, activity=activity, period_s=period_s).once()
        ((demand, *_), _, bounds) = planning.asked[0]
        assert bounds["period_s"] == planned_s
        assert demand.ask == pytest.approx(1 - (1 - report.demands[0].ask) ** minutes)

    run_virtually(scenario())


def test_a_plan_that_has_no_time_left_is_left_to_the_next(make_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        world = make_world({("small", "a"): 5.0, ("large", "a"): 20.0})
        ensure = world.backends["a"].ensure

        async def slow(*given: Any, **named: Any) -> None:
            await asyncio.sleep(10)
            await ensure(*given, **named)

        monkeypatch.setattr(world.backends["a"], "ensure", slow)
        actions = (Warm(SMALL, ""), Warm(Placement("sum/large", "a"), ""))
        keeper = keeper_of(world, Planning(*actions), within_s=5.0)
        assert [o.result for o in (await keeper.once()).outcomes] == [Result.DONE, Result.LEFT]
        assert [o.result for o in (await keeper.once()).outcomes] == [Result.ALREADY, Result.DONE]

    run_virtually(scenario())


def test_of_a_plan_each_part_is_carried_out_by_its_own(make_world: World) -> None:
    async def scenario() -> None:
        world = make_world(PROFILES)
        more, fewer = (Provision("b", copies, "") for copies in (3, 1))
        grow, shrink = (keeper_of(world, Planning(), part=part) for part in (Part.GROW, Part.SHRINK))
        for planned, keeper, carried, left in (
            ((Warm(SMALL, ""), more, Unload(SMALL, "")), shrink, [Provision, Unload], 0),
            ((Warm(SMALL, ""), more, Unload(SMALL, "")), grow, [Warm, Provision], 3),
            ((fewer, Shrink("a", 0, "")), grow, [Provision], 3),
            ((fewer, Shrink("a", 0, "")), shrink, [Provision, Shrink], 1),
        ):
            keeper._planner = Planning(*planned)
            report = await keeper.once()
            assert [type(outcome.action) for outcome in report.outcomes] == carried
            assert world.backends["b"].provisioned == left
        assert world.backends["a"].status().idle == 0

    run_virtually(scenario())


def test_a_report_reads_as_a_document_of_the_callers_own_tasks(make_world: World) -> None:
    async def scenario() -> Report:
        world, activity = make_world(PROFILES), MemoryActivity()
        activity.add(29_000_000 - 1, [Usage("sum", 60, 120, Slo())])
        actions = (
            Warm(SMALL, "soon", 2),
            Unload(SMALL, "late"),
            Shrink("a", 4, "rest"),
            Provision("b", 99, "it pays"),
        )
        return await keeper_of(world, Planning(*actions), activity=activity).once()

    report = run_virtually(scenario())
    document = capacity_document(report, float("inf"))
    assert (document["at"], document["usd_per_h"], document["budget_usd_per_h"]) == (START, 0.25, None)
    demand, *_ = document["demands"]
    assert (demand["task"], demand["rate_per_s"], demand["rows"]) == ("sum", 1.0, 2)
    told = [
        (a["action"], a["tier"], a["placement"], a["copies"], a["reason"], a["result"]) for a in document["actions"]
    ]
    assert told == [
        ("warm", "a", SMALL.id, 2, "soon", "done"),
        ("unload", "a", SMALL.id, None, "late", "already so"),
        ("shrink", "a", None, 4, "rest", "already so"),
        ("provision", "b", None, 99, "it pays", "failed"),
    ]
    assert "allows 4" in document["actions"][3]["why"]
    foreign = capacity_document(report, 1.0, lambda task: task == "")
    assert foreign["demands"] == []
    assert [a["action"] for a in foreign["actions"]] == ["shrink", "provision"]
    assert capacity_document(None, 0.0) == {
        "budget_usd_per_h": 0.0,
        "at": None,
        "usd_per_h": None,
        "gain_usd_per_h": None,
        "residency": {},
        "demands": [],
        "actions": [],
    }
