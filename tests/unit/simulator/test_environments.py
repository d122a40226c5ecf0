"""Lambda's execution environments: who runs where, what starts, what is refused and what it costs to the cent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from registry.model import Price, StartMode, TierKind
from registry.prices import lambda_price
from scheduler.events import EnvironmentBusy, EnvironmentGone, EnvironmentReady, SnapshotTaken
from scheduler.fleet import Fleet
from scheduler.keeping import PING_MS
from simulator.environments import BURST, QUEUE, Environments
from simulator.hardware import Hardware, constant, uniform
from simulator.policy import Invoke

V0, V1 = "t/v0@a:1", "t/v1@a:1"


@pytest.fixture
def opened(make_catalogue, make_tier, make_rig):
    """A rig and its tier's environments."""

    def make(hardware=None, *, tier=None, **facts):
        rig = make_rig(make_catalogue(make_tier("a", **(tier or {})), **facts), hardware or Hardware())
        host = Environments(rig.catalogue.tiers["a"], rig.stage)
        host.open()
        return rig, host

    return make


def ended(rig):
    return [(round(now, 6), end.ok or end.reason, end.cold, end.loaded, end.environment) for now, end, _ in rig.ends]


def test_a_cold_start_a_load_and_a_warm_run(opened, in_cents) -> None:
    rig, host = opened()
    rig.ask(host, V0, at=0.0)
    rig.ask(host, V0, at=1.0)
    rig.ask(host, V1, at=2.0)
    rig.clock.run()
    assert ended(rig) == [
        (0.26, True, True, True, "a-1"),
        (1.01, True, False, False, "a-1"),
        (2.07, True, False, True, "a-1"),
    ]
    # Three requests at a cent; 60 + 10 + 70 ms of runs and loads, and 200 ms of INIT, at a dollar a second.
    use = host.close(10.0)
    assert in_cents(use.dollars) == [3.0, 14.0, 20.0, 0.0, 0.0]
    assert [usd for *_, usd in rig.ends] == pytest.approx([0.27, 0.02, 0.08])
    assert use.idle_s == pytest.approx((1.0 - 0.26) + (2.0 - 1.01) + (10.0 - 2.07))


def test_an_environment_that_holds_the_variant_is_preferred_to_a_fresher_one(opened) -> None:
    rig, host = opened()
    rig.ask(host, V0, at=0.0)
    rig.ask(host, V1, at=0.1)
    rig.ask(host, V0, at=5.0)
    rig.clock.run()
    assert ended(rig)[-1] == (5.01, True, False, False, "a-1")


def test_lambda_throttles_at_its_concurrency_and_a_process_tier_queues(opened) -> None:
    rig, host = opened()
    for i in range(5):
        rig.ask(host, V0, at=0.001 * i)
    rig.clock.run()
    assert [what for _, what, *_ in ended(rig)] == ["throttled", "throttled", True, True, True]

    rig, host = opened(tier={"kind": TierKind.PROCESS, "concurrency": 1})
    for _ in range(QUEUE + 2):
        rig.ask(host, V0, at=0.5)
    rig.clock.run()
    answered = [now for now, what, *_ in ended(rig) if what is True]
    assert len(answered) == QUEUE + 1
    assert answered[:3] == [0.76, 0.77, 0.78]
    assert [end.began for _, end, _ in rig.ends if end.ok][:3] == pytest.approx([0.5, 0.76, 0.77])


def test_more_than_a_thousand_new_environments_in_ten_seconds_are_throttled(opened) -> None:
    rig, host = opened(tier={"concurrency": 5000})
    for _ in range(BURST + 3):
        rig.ask(host, V0, at=0.0)
    for _ in range(103):
        rig.ask(host, V0, at=0.1)  # a hundredth of ten seconds later, ten more
    rig.clock.run()
    assert sum(what is True for _, what, *_ in ended(rig)) == BURST + 10


def test_idle_environments_expire_when_their_lifetime_is_over(opened) -> None:
    rig, host = opened(Hardware(lifetimes={"a": constant(30.0)}))
    rig.ask(host, V0, at=0.0)
    rig.ask(host, V0, at=30.0)
    rig.ask(host, V0, at=60.5)
    rig.clock.run()
    assert [cold for _, _, cold, *_ in ended(rig)] == [True, False, True]
    gone = [event for event in rig.events if isinstance(event, EnvironmentGone)]
    assert [(event.environment, event.now) for event in gone] == [("a-1", 60.5)]
    # What was dead was not idle: 29.74 s, 30 s until it died, and 30 s of the second one.
    assert host.close(1000.0).idle_s == pytest.approx(29.74 + 30.0 + 30.0)


def test_lifetimes_are_drawn_anew_for_every_idle_time(opened) -> None:
    rig, host = opened(Hardware(lifetimes={"a": uniform(1.0, 9.0)}))
    for i in range(200):
        rig.ask(host, V0, at=5.0 * i)
    rig.clock.run()
    assert 0.3 < sum(cold for _, _, cold, *_ in ended(rig)) / 200 < 0.7


def test_the_least_recently_used_variant_makes_room(opened) -> None:
    rig, host = opened(variants=3, memory_mb=400.0, tier={"concurrency": 1})
    for i, rank in enumerate((0, 1, 0, 2, 0, 1)):
        rig.ask(host, f"t/v{rank}@a:1", at=float(i))
    rig.clock.run()
    assert [loaded for *_, loaded, _ in ended(rig)] == [True, True, False, True, False, True]


def test_warm_ups_overlap_reach_their_own_environments_and_are_billed(opened, in_cents) -> None:
    rig, host = opened()
    placement = rig.catalogue.placements[V0]
    rig.at(0.0, lambda: host.warm(placement, 2, 0.0))
    rig.at(0.05, lambda: host.warm(placement, 2, 0.0))  # they are on their way
    rig.ask(host, V0, at=1.0)
    rig.ask(host, V0, at=1.001)
    rig.at(2.0, lambda: host.warm(rig.catalogue.placements[V1], 3, 0.0))
    rig.clock.run()
    assert [(cold, loaded) for _, _, cold, loaded, _ in ended(rig)] == [(False, False)] * 2
    assert len({environment for *_, environment in ended(rig)}) == 2
    # Warm-ups, longer than the loads in them: two with starts, then two and one with a start. Requests: two of 10 ms.
    assert in_cents(host.close(10.0).dollars) == [7.0, 100 * (5 * PING_MS / 1000 + 2 * 0.01), 60.0, 0.0, 0.0]


def test_what_is_to_live_together_is_warmed_in_one_environment(opened) -> None:
    rig, host = opened()
    rig.at(0.0, lambda: [host.warm(rig.catalogue.placements[each], 1, 60.0) for each in (V0, V1)])
    rig.ask(host, V0, at=1.0)
    rig.ask(host, V1, at=2.0)
    rig.clock.run()
    assert [(cold, loaded, where) for _, _, cold, loaded, where in ended(rig)] == [(False, False, "a-1")] * 2
    assert host.close(10.0).started == 1


def test_a_warm_up_takes_no_place_that_there_is_not(opened) -> None:
    rig, host = opened(tier={"concurrency": 1})
    rig.ask(host, V0, at=0.0)
    rig.at(0.1, lambda: host.warm(rig.catalogue.placements[V1], 2, 0.0))
    rig.clock.run()
    assert len({event.environment for event in rig.events}) == 1


def test_unloading_leaves_the_environment_and_shrinking_takes_it_where_that_can_be(opened, in_cents) -> None:
    for kind, left in ((TierKind.PROCESS, 0), (TierKind.LAMBDA, 2)):
        rig, host = opened(tier={"kind": kind})
        rig.ask(host, V0, at=0.0)
        rig.ask(host, V1, at=0.0)
        rig.at(1.0, lambda host=host, rig=rig: host.unload(rig.catalogue.placements[V0]))
        rig.at(2.0, lambda host=host: host.shrink(0))
        rig.clock.run()
        ready = [event.resident for event in rig.events if isinstance(event, EnvironmentReady)]
        assert ready[-1] == ()
        assert sum(isinstance(event, EnvironmentGone) for event in rig.events) == 2 - left
        assert in_cents(host.close(3.0).dollars)[:2] == [3.0, 13.1]


def test_provisioned_environments_are_warm_paid_idle_and_come_first(opened, in_cents) -> None:
    on_demand = lambda_price(1024)
    rig, host = opened(Hardware(provisioned={"a": 1}), tier={"price": on_demand})
    rig.ask(host, V0, at=500.0)
    rig.ask(host, V0, at=500.0)  # spills over
    rig.ask(host, V0, at=3600.0)
    rig.clock.run()
    assert [(cold, loaded) for _, _, cold, loaded, _ in sorted(ended(rig))] == [
        (False, True),
        (True, True),
        (False, False),
    ]
    paid = lambda_price(1024, start_mode=StartMode.PROVISIONED)
    dollars = host.close(7200.0).dollars
    assert dollars.idle == pytest.approx(7200.0 * paid.usd_per_idle_s)
    assert dollars.busy == pytest.approx(0.070 * paid.usd_per_busy_s + 0.060 * on_demand.usd_per_busy_s)
    assert dollars.init == pytest.approx(0.200 * on_demand.usd_per_busy_s)  # the other one was there already


def test_provisioned_concurrency_is_paid_for_five_minutes_at_least(opened) -> None:
    rig, host = opened(tier={"price": lambda_price(1024)})
    rig.at(0.0, lambda: host.provision(2))
    rig.at(10.0, lambda: host.provision(1))
    rig.at(1000.0, lambda: host.provision(0))
    rig.clock.run()
    per_s = lambda_price(1024, start_mode=StartMode.PROVISIONED).usd_per_idle_s
    assert host.close(2000.0).dollars.idle == pytest.approx((300.0 + 1000.0) * per_s)
    assert sum(isinstance(event, EnvironmentGone) for event in rig.events) == 2


def test_a_snapshot_is_restored_with_what_it_holds(opened, in_cents) -> None:
    price = Price(1.0, 0.01, usd_per_start=0.5, usd_per_idle_s=0.001)
    hardware = Hardware(snapshots={"a": ("t/v0",)})
    rig, host = opened(hardware, tier={"start_mode": StartMode.SNAPSTART, "price": price})
    rig.ask(host, V0, at=1.0)
    rig.clock.run()
    assert ended(rig) == [(1.21, True, True, False, "a-1")]
    assert rig.events[0] == SnapshotTaken("a", ("t/v0",), 0.0)
    assert in_cents(host.close(100.0).dollars) == [1.0, 1.0, 20.0, 50.0, 10.0]


def test_a_cancelled_invocation_never_begins_or_ends_untold(opened) -> None:
    rig, host = opened(tier={"kind": TierKind.PROCESS, "concurrency": 1})
    invokes: list[Invoke] = []
    kept = host.invoke
    host.invoke = lambda invoke: (invokes.append(invoke), kept(invoke))  # type: ignore[method-assign]
    for at in (0.0, 0.001, 0.002):
        rig.ask(host, V0, at=at)
    rig.at(0.1, lambda: host.cancel(invokes[0]))
    rig.at(0.1, lambda: host.cancel(invokes[1]))
    rig.clock.run()
    # What was started for the first is there for the last, who alone still waits.
    assert ended(rig) == [(0.26, True, True, True, "a-1")]


def test_who_waits_longest_has_the_process_that_is_free_first_whoever_it_was_started_for(opened) -> None:
    for hardware, expected in (
        (Hardware(), [(0.26, True, True, True, "a-1"), (0.27, True, False, False, "a-1")]),
        (Hardware(bound=["a"]), [(0.26, True, True, True, "a-1"), (0.41, True, True, True, "a-2")]),
    ):
        rig, host = opened(hardware, tier={"kind": TierKind.PROCESS, "concurrency": 2})
        rig.ask(host, V0, at=0.0)
        rig.ask(host, V0, at=0.15)
        rig.clock.run()
        assert ended(rig) == expected
        # The second environment is started either way, and stays; nobody is billed for a start that nobody met.
        assert host.close(1.0).started == 2


def test_an_environment_that_nobody_waited_for_any_more_is_cold_for_nobody(opened) -> None:
    rig, host = opened(tier={"kind": TierKind.PROCESS, "concurrency": 2})
    for at in (0.0, 0.15, 0.5, 0.505):
        rig.ask(host, V0, at=at)
    rig.clock.run()
    assert ended(rig)[2:] == [(0.51, True, False, False, "a-1"), (0.565, True, False, True, "a-2")]


def test_what_was_never_measured_is_not_ready(opened, make_rig) -> None:
    rig, _ = opened()
    bare = rig.catalogue.with_placements(*rig.catalogue.placements.values())
    rig = make_rig(replace(bare, profiles={}))
    host = Environments(rig.catalogue.tiers["a"], rig.stage)
    host.open()
    rig.ask(host, V0, at=0.0)
    rig.clock.run()
    assert ended(rig) == [(0.0, "not ready", False, False, "")]


def test_every_event_is_one_that_can_happen_to_a_fleet(opened) -> None:
    rig, host = opened(Hardware(lifetimes={"a": uniform(0.5, 3.0)}, provisioned={"a": 1}))
    for i in range(60):
        rig.ask(host, (V0, V1)[i % 3 == 0], at=0.4 * i**1.05)
    rig.at(3.3, lambda: host.warm(rig.catalogue.placements[V1], 3, 0.0))
    rig.at(5.1, lambda: host.unload(rig.catalogue.placements[V0]))
    rig.at(9.1, lambda: host.provision(0))
    rig.clock.run()
    fleet = Fleet.empty(rig.catalogue).apply_all(rig.events)
    assert fleet.tier("a").running == fleet.tier("a").starting == 0


def test_an_environment_that_would_idle_out_is_used_once_more_and_one_that_would_not_is_left(opened) -> None:
    rig, host = opened()
    placement = rig.catalogue.placements[V0]
    timeout_s = host.tier.idle_timeout_s
    rig.at(0.0, lambda: host.warm(placement, 1, 0.0))
    busy: list[float] = []

    def look(at: float) -> None:
        before = len(rig.events)
        host.warm(placement, 1, 2.0)
        busy.extend(at for event in rig.events[before:] if isinstance(event, EnvironmentBusy))

    for at in (timeout_s - 3.0, timeout_s - 1.0, timeout_s + 1.0):
        rig.at(at, lambda at=at: look(at))
    rig.ask(host, V0, at=2 * timeout_s - 2.0)
    rig.clock.run()
    assert busy == [timeout_s - 1.0]
    assert [(cold, loaded) for _, _, cold, loaded, _ in ended(rig)] == [(False, False)]
