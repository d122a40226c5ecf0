"""Container endpoints: batches in copies, minutes from zero, and what is paid meanwhile."""

from __future__ import annotations

import pytest

from registry.model import OnInfeasible, Price, TierKind
from scheduler.events import EnvironmentGone, EnvironmentReady, EnvironmentStarting
from scheduler.fleet import Fleet
from scheduler.work import Run
from simulator.container import SCALE_IN_S, START_S, Container
from simulator.hardware import Hardware
from simulator.policy import Invoke

V0, V1 = "t/v0@c:1", "t/v1@c:1"


@pytest.fixture
def opened(make_catalogue, make_tier, make_rig):
    """A rig and its tier's copies."""

    def make(hardware=None, *, tier=None, **facts):
        given = {"kind": TierKind.CONTAINER, "concurrency": 1, "price": Price(0.5, usd_per_idle_s=0.5)}
        rig = make_rig(make_catalogue(make_tier("c", **given | (tier or {})), **facts), hardware or Hardware())
        host = Container(rig.catalogue.tiers["c"], rig.stage)
        host.open()
        return rig, host

    return make


def ended(rig):
    return [(round(now, 6), end.ok or end.reason) for now, end, _ in rig.ends]


def test_the_first_run_loads_and_those_that_wait_share_the_next(opened) -> None:
    rig, host = opened()
    for i in range(3):
        rig.ask(host, V0, at=0.001 * i)
    rig.clock.run()
    # 50 ms to load and 10 to run; then two rows together in 20.
    assert ended(rig) == [(0.06, True), (0.08, True), (0.08, True)]
    assert [end.loaded for _, end, _ in rig.ends] == [True, False, False]
    assert {end.variant for _, end, _ in rig.ends} == {"t/v0"}


def test_copies_are_paid_for_and_runs_are_not_on_top(opened, in_cents) -> None:
    rig, host = opened(Hardware(provisioned={"c": 2}))
    rig.ask(host, V0, at=10.0)
    rig.clock.run()
    use = host.close(100.0)
    assert in_cents(use.dollars) == [0.0, 0.0, 0.0, 0.0, 2 * 100 * 50.0]
    assert use.idle_s == pytest.approx(200.0 - 0.06)
    assert [usd for *_, usd in rig.ends] == pytest.approx([0.03])  # its share


def test_inline_is_paid_for_by_the_run_alone(opened, in_cents) -> None:
    rig, host = opened(tier={"kind": TierKind.INLINE, "price": Price(0.5)})
    rig.ask(host, V0, at=10.0)
    rig.clock.run()
    assert in_cents(host.close(100.0).dollars) == [0.0, 3.0, 0.0, 0.0, 0.0]


def test_from_zero_calls_fail_until_a_copy_is_there(opened) -> None:
    rig, host = opened(Hardware(provisioned={"c": 0}))
    rig.ask(host, V0, at=1.0)
    rig.at(10.0, lambda: host.provision(1))
    rig.ask(host, V0, at=70.0)
    rig.ask(host, V0, at=10.0 + START_S + 1.0)
    rig.clock.run()
    assert [what for _, what in ended(rig)] == ["not ready", "not ready", True]
    assert [end.retry_after_s for _, end, _ in rig.ends[:2]] == pytest.approx([START_S, START_S - 60.0])
    kinds = [type(event) for event in rig.events][:2]
    assert kinds == [EnvironmentStarting, EnvironmentReady]
    assert host.close(1000.0).dollars.idle == pytest.approx(0.5 * 990.0)


def test_a_copy_serves_and_is_paid_for_until_the_scale_in_takes_effect(opened) -> None:
    rig, host = opened()
    rig.at(100.0, lambda: host.provision(0))
    rig.at(160.0, lambda: host.provision(0))  # said again, it takes no longer
    rig.ask(host, V0, at=100.0 + SCALE_IN_S - 1.0)
    rig.ask(host, V0, at=100.0 + SCALE_IN_S + 1.0)
    rig.clock.run()
    assert [what for _, what in ended(rig)] == [True, "not ready"]
    assert [event.now for event in rig.events if isinstance(event, EnvironmentGone)] == [100.0 + SCALE_IN_S]
    assert host.close(1000.0).dollars.idle == pytest.approx(0.5 * (100.0 + SCALE_IN_S))


def test_a_copy_that_is_wanted_again_stays(opened) -> None:
    rig, host = opened()
    rig.at(100.0, lambda: host.provision(0))
    rig.at(200.0, lambda: host.provision(1))
    rig.ask(host, V0, at=1000.0)
    rig.clock.run()
    assert ended(rig) == [(1000.06, True)]
    assert host.close(1000.0).started == 1


def test_work_goes_to_the_copy_with_least_of_it(opened) -> None:
    rig, host = opened(Hardware(provisioned={"c": 2}))
    for i in range(2):
        rig.ask(host, V1, at=0.001 * i)
    rig.clock.run()
    assert ended(rig) == [(0.07, True), (0.071, True)]


def test_what_cannot_be_done_in_time_is_turned_away(opened) -> None:
    rig, host = opened()
    for i in range(30):
        rig.ask(host, V1, at=0.0001 * i, latency_ms=200.0, on_infeasible=OnInfeasible.STRICT, min_accuracy=0.85)
    rig.clock.run()
    refused = [end for _, end, _ in rig.ends if not end.ok]
    assert {end.reason for end in refused} <= {"throttled", "late"}
    assert 0 < len(refused) < 30
    assert all(now <= 0.0001 * 30 + 0.2 for now, end, _ in rig.ends if end.ok)


def test_warming_loads_in_as_many_copies_and_unloading_gives_up(opened) -> None:
    rig, host = opened(Hardware(provisioned={"c": 2}))
    placement = rig.catalogue.placements[V1]
    rig.at(0.0, lambda: host.warm(placement, 2, 0.0))
    rig.ask(host, V1, at=1.0)
    rig.at(2.0, lambda: host.unload(placement))
    rig.ask(host, V1, at=3.0)
    rig.clock.run()
    assert [end.loaded for _, end, _ in rig.ends] == [False, True]
    told = [event.resident for event in rig.events if isinstance(event, EnvironmentReady)]
    assert ("t/v1",) in told
    assert told[-2] == ()


def test_memory_bounds_what_a_copy_holds(opened) -> None:
    rig, host = opened(variants=3, memory_mb=400.0)
    for i, rank in enumerate((0, 1, 0, 2, 0, 1)):
        rig.ask(host, f"t/v{rank}@c:1", at=float(i))
    rig.clock.run()
    assert [end.loaded for _, end, _ in rig.ends] == [True, True, False, True, False, True]


class OneByOne:
    """A baseline's decider: one work after another."""

    def __init__(self, cores, ladders) -> None:
        self.waiting, self.busy, self.number = [], False, 0

    def arrive(self, work, now):
        self.waiting.append(work)

    def act(self, now):
        if self.busy or not self.waiting:
            return []
        work, self.busy, self.number = self.waiting.pop(0), True, self.number + 1
        return [Run(self.number, work.task, "v0", 1, (work,), work.rows, 0.0)]

    def finished(self, run, took_s, now, *, ok=True) -> None:
        self.busy = False

    def wake_at(self, now):
        return None

    def resident(self, task, variant, threads, held=True) -> None:
        pass


def test_a_baseline_may_decide_in_the_stations_place(opened) -> None:
    rig, host = opened(Hardware(deciders={"c": OneByOne}))
    for i in range(3):
        rig.ask(host, V0, at=0.001 * i)
    rig.clock.run()
    assert ended(rig) == [(0.06, True), (0.07, True), (0.08, True)]


def test_every_event_is_one_that_can_happen_to_a_fleet(opened) -> None:
    rig, host = opened(Hardware(provisioned={"c": 2}, start_s={"c": 3.0}, scale_in_s={"c": 2.0}))
    for i in range(400):
        rig.ask(host, (V0, V1)[i % 3 == 0], at=0.021 * i)
    rig.at(2.0, lambda: host.provision(0))
    rig.at(4.5, lambda: host.provision(3))
    rig.clock.run()
    fleet = Fleet.empty(rig.catalogue).apply_all(rig.events)
    assert fleet.tier("c").running == 0
    assert len(rig.ends) == 400


def test_of_what_was_cancelled_no_end_is_told(opened) -> None:
    rig, host = opened()
    invokes: list[Invoke] = []
    kept = host.invoke
    host.invoke = lambda invoke: (invokes.append(invoke), kept(invoke))
    for at in (0.0, 0.001):
        rig.ask(host, V0, at=at)
    rig.at(0.002, lambda: host.cancel(invokes[0]))
    rig.clock.run()
    assert ended(rig) == [(0.07, True)]
