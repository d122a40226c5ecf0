"""Lanes, shares and fixed fleets: what the baselines on containers have in common."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.actions import Provision, Unload, Warm
from simulator.container import START_S
from simulator.policies.options import CONTAINERS, Option, options
from simulator.policies.pools import Fronted, Lane, Pooled, Spread
from simulator.policies.tracking import LATE
from simulator.policy import Ended, Invoke, Job, Reject


class First(Pooled):
    """Every job in the first lane."""

    name = "first"

    def route(self, job: Job, now: float) -> Lane | None:
        return self.lanes_of("t")[0]


class Lone(Fronted):
    """One job at a time in the first variant."""

    name = "lone"

    def pick(self, task: str, waiting: int, left_ms: float, now: float) -> tuple[Option, int]:
        return self.found[task][0], 1


@pytest.fixture
def lane(build: Any) -> Lane:
    (option,) = options(build({"a": (0.9, {1: 100.0, 2: 150.0})}, "box"), "t", 95.0, CONTAINERS)
    return Lane(option, batch=2)


def ended(invoke: Invoke, now: float, *, ok: bool = True) -> Ended:
    return Ended(invoke, now, ok, "" if ok else "not ready", False, False, 1.0, "e")


def test_a_lane_runs_what_waits_up_to_its_batch_and_units(lane: Lane, ask: Any) -> None:
    jobs = [ask(0.0) for _ in range(5)]
    lane.queue.extend(jobs)
    lane.units = 2

    begun = list(lane.begin(9, 0.0))

    placement = lane.option.placement
    assert begun == [Invoke(placement, (jobs[0], jobs[1])), Invoke(placement, (jobs[2], jobs[3]))]
    assert list(lane.begin(9, 0.0)) == []


def test_a_lane_drops_what_even_alone_would_be_late(lane: Lane, ask: Any) -> None:
    late, timely = ask(0.0), ask(0.5)
    lane.queue.extend((late, timely))
    lane.units = 1

    assert list(lane.begin(1, 0.95)) == [Reject(late, LATE), Invoke(lane.option.placement, (timely,))]


def test_shares_are_followed_whichever_is_furthest_behind(build: Any) -> None:
    catalogue = build({"a": (0.8, {1: 9.0}), "b": (0.9, {1: 9.0}), "c": (0.7, {1: 9.0})}, "box")
    lanes = {o.placement.variant: Lane(o) for o in options(catalogue, "t", 95.0, CONTAINERS)}
    for each in lanes.values():
        each.units = 1
    spread = Spread()
    spread.weigh({lanes["t/a"].option.id: 3.0, lanes["t/b"].option.id: 1.0, lanes["t/c"].option.id: 0.0})

    sent = [spread.pick(lanes.values()) for _ in range(8)]

    assert sent.count(lanes["t/a"]) == 6
    assert sent.count(lanes["t/b"]) == 2


def test_a_plan_asks_for_copies_and_loads_and_moves_what_waits(build: Any, ask: Any) -> None:
    policy = First(build({"a": (0.8, {1: 10.0}), "b": (0.9, {1: 10.0})}, "box"))
    job = ask(0.0)
    assert list(policy.arrive(job, 0.0)) == [Provision("box", 0, "0 units are planned")]
    a, b = policy.lanes_of("t")

    planned = policy.plan({a.option.id: 3}, 0.0)

    assert planned == [
        Provision("box", 2, "3 units are planned"),
        Warm(a.option.placement, "3 units are planned", 2),
    ]
    assert list(policy.tick(0.0))[-1] == Invoke(a.option.placement, (job,)), "on the copy that was on its way out"
    rejected = policy.plan({b.option.id: 1}, 1.0)
    assert Unload(a.option.placement, "no unit is planned") not in rejected, "it is still running"


def test_runs_never_exceed_the_copies_that_are_up(build: Any, ask: Any) -> None:
    policy = First(build({"a": (0.8, {1: 10.0})}, "box"))
    policy.meet_all()
    policy.plan({policy.lanes_of("t")[0].option.id: 4}, 0.0)

    begun = [action for _ in range(4) for action in policy.arrive(ask(0.0), 0.0)]

    assert sum(isinstance(action, Invoke) for action in begun) == 2, "one copy has two slots"
    later = [action for _ in range(2) for action in policy.arrive(ask(START_S), START_S)]
    assert sum(isinstance(action, Invoke) for action in later) == 2, "the second copy is up"


def test_a_fleet_loads_everything_and_serves_the_most_urgent_first(build: Any, ask: Any) -> None:
    policy = Lone(build({"a": (0.8, {1: 10.0}), "b": (0.9, {1: 20.0})}, "box"), copies=1)
    assert [type(action) for action in policy.tick(0.0)] == [Warm, Warm]
    jobs = [ask(0.0) for _ in range(3)]

    begun = [list(policy.arrive(job, 0.0)) for job in jobs]

    placement = policy.found["t"][0].placement
    assert begun == [[Invoke(placement, (jobs[0],))], [Invoke(placement, (jobs[1],))], []]
    assert list(policy.ended(ended(Invoke(placement, (jobs[0],)), 0.1), 0.1)) == [Invoke(placement, (jobs[2],))]


def test_what_a_fleet_cannot_do_in_time_is_refused(build: Any, ask: Any) -> None:
    policy = Lone(build({"a": (0.8, {1: 100.0})}, "box"), copies=1)
    jobs = [ask(0.0) for _ in range(3)]
    begun = [action for job in jobs for action in policy.arrive(job, 0.0)]

    (first, *_) = begun
    assert isinstance(first, Invoke)
    assert list(policy.ended(ended(first, 0.95), 0.95)) == [Reject(jobs[2], LATE)]
