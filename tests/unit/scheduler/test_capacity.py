from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from gateway.backends import inline
from registry.catalogue import Catalogue
from registry.copies import START_S
from registry.model import (
    LEVELS,
    ZERO,
    Accuracy,
    Placement,
    Price,
    Profile,
    Quantiles,
    Recipe,
    ServiceTime,
    Slo,
    StartMode,
    Task,
    TensorSpec,
    Tier,
    TierKind,
    Variant,
)
from runtime import worker
from scheduler.actions import Provision, Shrink, Unload, Warm
from scheduler.capacity import Demand, Plan, plan
from scheduler.events import (
    EnvironmentBusy,
    EnvironmentReady,
    EnvironmentStarting,
    Event,
    PlacementFailed,
    TierUnavailable,
    VariantQuarantined,
)
from scheduler.fleet import Fleet
from scheduler.keeping import INLINE_SHARE, MEMORY_SHARE, RENEWED, RESERVE_MB, room_mb
from scheduler.overlap import NEARLY_ALL, copies_for
from scheduler.requests import Request

PERIOD_S = 60.0


def flat(ms: float) -> Quantiles:
    return Quantiles((ms,) * len(LEVELS), ms)


def tier(name: str, **changes: object) -> Tier:
    """A function of one vCPU: 10 dollars a busy second are out of proportion, so that money shows in the figures."""
    facts: dict[str, object] = {
        "kind": TierKind.LAMBDA,
        "vcpus": 1.0,
        "memory_mb": 1000,
        "concurrency": 10,
        "start_mode": StartMode.ONDEMAND,
        "price": Price(usd_per_busy_s=1e-5, usd_per_request=1e-7),
        "idle_timeout_s": 300.0,
    }
    return Tier(name, **(facts | changes))  # type: ignore[arg-type]


def provisioned(name: str, usd_per_h: float, **changes: object) -> Tier:
    price = Price(usd_per_busy_s=1e-5, usd_per_idle_s=usd_per_h / 3600)
    return tier(name, start_mode=StartMode.PROVISIONED, price=price, **changes)


def catalogue(variants: Mapping[str, tuple[float, float]], *tiers: Tier, memory_mb: float = 100.0) -> Catalogue:
    """Variants by `task/name`, each with accuracy and service time (ms), on every tier; start and load: a second."""
    tasks = dict.fromkeys(name.partition("/")[0] for name in variants)
    signature = (TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1,)),)
    made = Catalogue.empty().with_tasks(*(Task(task, *signature, "accuracy") for task in tasks)).with_tiers(*tiers)
    for id_, (accuracy, ms) in variants.items():
        task, _, name = id_.partition("/")
        share = Accuracy(accuracy, accuracy, accuracy, 100, "wilson")
        made = made.with_variants(Variant(task, name, f"blake3:{id_}", Recipe("test"), share))
        for place in tiers:
            placement = Placement(id_, place.name)
            always = place.start_mode is StartMode.ALWAYS
            service = (ServiceTime(1, flat(ms), ms),)
            init = ZERO if always else flat(1000.0)
            profile = Profile(
                placement.id, service, flat(1000.0), init, memory_mb, "test", "none", 100, "2025-01-01T00:00:00Z"
            )
            made = made.with_placements(placement).with_profiles(profile)
    return made


def demand(task: str, ask: float, rate: float = 0.0, **hints: object) -> Demand:
    return Demand(task, ask, rate, Request(task, Slo().with_hints({"latency_ms": 100.0} | hints)))


def planned(known: Catalogue, demands: Sequence[Demand], *events: Event, now: float = 0.0, **options: float) -> Plan:
    fleet = Fleet.empty(known)
    for event in events:
        fleet = fleet.apply(event)
    return plan(known, fleet, demands, now, period_s=PERIOD_S, **options)


def endpoint(usd_per_h: float = 1.0, **changes: object) -> Tier:
    """A tier that lives by copies, minutes from zero."""
    return provisioned("gpu", usd_per_h, kind=TierKind.GPU, concurrency=1, idle_timeout_s=2400.0, **changes)


def minutes_from_zero(known: Catalogue) -> Catalogue:
    started = [replace(p, init=flat(START_S * 1000)) for p in known.profiles.values() if p.placement.endswith("@gpu:1")]
    return known.with_profiles(*started)


def provisions(found: Plan) -> dict[str, int]:
    return {action.tier: action.copies for action in found.actions if isinstance(action, Provision)}


NO_COPIES = TierUnavailable("gpu", "0 of 0 copies are there", 60.0, 0.0)


@pytest.mark.parametrize("events", [(), (NO_COPIES,), (replace(NO_COPIES, until=400.0),)])
def test_copies_are_asked_for_though_the_tier_refuses_for_want_of_them(events: tuple[Event, ...]) -> None:
    """What steady requests keep refusing is what the plan is there to change; on the CPU the answer comes too late."""
    known = minutes_from_zero(catalogue({"t/v": (0.9, 50.0)}, endpoint()))
    busy = planned(known, [demand("t", 1.0, 5.0)], *events)
    assert provisions(busy) == {"gpu": 1}
    assert warmed(busy) == {"t/v@gpu:1": 1}
    assert provisions(planned(known, [demand("t", 1.0, 5.0)], *events, budget_usd_per_h=0.9)) == {"gpu": 0}
    assert provisions(planned(known, [demand("t", 0.001, 0.02)], *events)) == {"gpu": 0}


def test_no_copies_are_asked_for_of_what_is_broken_or_avoided() -> None:
    known = minutes_from_zero(catalogue({"t/v": (0.9, 50.0)}, endpoint()))
    for event in (
        replace(NO_COPIES, until=math.inf),
        VariantQuarantined("t/v", "its bytes are wrong", 0.0),
        PlacementFailed("t/v@gpu:1", "it failed", 100.0, 0.0),
    ):
        assert provisions(planned(known, [demand("t", 1.0, 5.0)], NO_COPIES, event)) == {"gpu": 0}


def test_a_gpu_is_not_paid_for_where_a_cpu_answers_as_well() -> None:
    known = minutes_from_zero(catalogue({"t/v": (0.9, 50.0)}, endpoint(), tier("cpu")))
    found = planned(known, [demand("t", 1.0, 0.1)], NO_COPIES)
    assert provisions(found) == {"gpu": 0}
    assert warmed(found).keys() == {"t/v@cpu:1"}


def test_a_gpu_is_paid_for_where_it_answers_better_though_a_cpu_has_the_task_ready() -> None:
    """What the CPU is ready to answer late, or worse, is worth the difference on the GPU for each request."""
    known = catalogue({"t/good": (0.99, 50.0), "t/fair": (0.6, 50.0)}, endpoint(), tier("cpu"))
    slow = [replace(p, service=(ServiceTime(1, flat(900.0), 900.0),)) for p in known.profiles.values()]
    known = minutes_from_zero(known.with_profiles(*(p for p in slow if p.placement == "t/good@cpu:1")))
    on_cpu = EnvironmentReady("cpu", "e1", ("t/fair",), 0.0)
    busy = planned(known, [demand("t", 1.0, 5.0)], on_cpu, NO_COPIES)
    assert provisions(busy) == {"gpu": 1}
    assert warmed(busy).keys() == {"t/good@gpu:1"}
    quiet = planned(known, [demand("t", 1.0, 0.5)], on_cpu, NO_COPIES)
    assert provisions(quiet) == {"gpu": 0}
    assert warmed(quiet).keys() == {"t/fair@cpu:1"}


@pytest.mark.parametrize(("usd_per_h", "copies"), [(0.004, 1), (0.04, 0)])
def test_a_gpu_is_paid_for_where_that_is_cheaper_than_all_the_cpu_s_answers(usd_per_h: float, copies: int) -> None:
    """What a run costs on a copy is in the copy's own price: ten a second cost 0.02 USD an hour elsewhere."""
    known = minutes_from_zero(catalogue({"t/v": (0.9, 50.0)}, endpoint(usd_per_h), tier("cpu")))
    found = planned(known, [demand("t", 1.0, 10.0)], EnvironmentReady("cpu", "e1", ("t/v",), 0.0), NO_COPIES)
    assert provisions(found) == {"gpu": copies}


def test_copies_that_come_are_waited_for_and_those_that_nobody_uses_go() -> None:
    known = minutes_from_zero(catalogue({"t/v": (0.9, 50.0)}, endpoint()))
    coming = EnvironmentStarting("gpu", "gpu", 0.0)
    assert provisions(planned(known, [], coming, NO_COPIES, now=30.0)) == {"gpu": 1}
    here = EnvironmentReady("gpu", "gpu", ("t/v",), 0.0)
    assert provisions(planned(known, [], here, now=RENEWED * 2400.0 - 1)) == {"gpu": 1}
    assert provisions(planned(known, [], here, now=RENEWED * 2400.0)) == {"gpu": 0}


def warmed(found: Plan) -> dict[str, int]:
    return {action.placement.id: action.copies for action in found.actions if isinstance(action, Warm)}


def test_what_is_asked_for_is_kept_ready_and_what_is_not_is_not() -> None:
    known = catalogue({"a/v": (0.9, 10.0), "b/v": (0.9, 10.0)}, tier("cpu"))
    found = planned(known, [demand("a", 0.5), demand("b", 0.0)])
    assert warmed(found) == {"a/v@cpu:1": 1}
    assert found.residency == {"cpu": ("a/v@cpu:1",)}
    assert "probability 0.5" in found.actions[0].reason


def test_the_price_of_a_period_decides() -> None:
    """An answer in time is worth 0.9 × 0.001 dollars; a provisioned environment is worth it where it costs less."""
    for usd_per_h, kept in ((0.9e-3 * 0.5 * 60 * 0.9, True), (0.9e-3 * 0.5 * 60 * 1.1, False)):
        known = catalogue({"a/v": (0.9, 10.0)}, provisioned("cpu", usd_per_h))
        found = planned(known, [demand("a", 0.5)], EnvironmentReady("cpu", "e", ("a/v",), 0.0))
        assert bool(warmed(found)) == kept
        assert found.usd_per_h == pytest.approx(usd_per_h if kept else 0.0)
        assert Provision("cpu", int(kept), f"{int(kept)} copies are planned for the next 60 s") in found.actions


def test_tasks_that_pay_for_no_environment_alone_pay_for_one_together() -> None:
    usd_per_h = 0.9e-3 * 0.2 * 60 * 2.5
    known = catalogue({f"t{i}/v": (0.9, 10.0) for i in range(3)}, provisioned("cpu", usd_per_h))
    ready = EnvironmentReady("cpu", "e", tuple(f"t{i}/v" for i in range(3)), 0.0)
    assert not warmed(planned(known, [demand("t0", 0.2), demand("t1", 0.2)], ready))
    together = planned(known, [demand(f"t{i}", 0.2) for i in range(3)], ready)
    assert set(warmed(together)) == {f"t{i}/v@cpu:1" for i in range(3)}


def test_busy_tasks_share_one_shard_and_a_second_is_opened_for_what_does_not_fit() -> None:
    """Each environment holds four variants of 200 MB; of two shards the first has those that are worth most."""
    known = catalogue({f"t{i}/v": (0.9, 10.0) for i in range(6)}, tier("shard-a"), tier("shard-b"), memory_mb=200.0)
    found = planned(known, [demand(f"t{i}", 0.9 - 0.1 * i) for i in range(6)])
    first, second = sorted(found.residency, key=lambda name: -len(found.residency[name]))
    assert [p.partition("/")[0] for p in found.residency[first]] == ["t0", "t1", "t2", "t3"]
    assert [p.partition("/")[0] for p in found.residency[second]] == ["t4", "t5"]


def test_no_tier_holds_more_than_fits() -> None:
    known = catalogue({f"t{i}/v": (0.9, 10.0) for i in range(20)}, tier("cpu"), memory_mb=150.0)
    found = planned(known, [demand(f"t{i}", 0.5) for i in range(20)])
    assert len(found.residency["cpu"]) == int(1000 * MEMORY_SHARE / 150.0)


def test_a_task_has_its_most_valuable_variant_ready_and_only_that() -> None:
    known = catalogue({"a/good": (0.95, 50.0), "a/slow": (0.99, 500.0), "a/small": (0.8, 5.0)}, tier("cpu"))
    assert warmed(planned(known, [demand("a", 0.9)])) == {"a/good@cpu:1": 1}
    assert warmed(planned(known, [demand("a", 0.9, latency_ms=20.0)])) == {"a/small@cpu:1": 1}
    assert warmed(planned(known, [demand("a", 0.9, latency_ms=600.0)])) == {"a/slow@cpu:1": 1}
    assert warmed(planned(known, [demand("a", 0.9, latency_ms=600.0, max_cost_usd=2e-6)])) == {"a/good@cpu:1": 1}
    assert warmed(planned(known, [demand("a", 0.9, latency_ms=60.0, min_accuracy=0.96)])) == {}


def test_a_substitute_that_always_runs_is_counted_on() -> None:
    """With a variant on an always-on tier that is nearly as good, only the difference is worth paying for."""
    always = tier("inline", kind=TierKind.INLINE, start_mode=StartMode.ALWAYS, concurrency=1)
    usd_per_h = 0.9e-3 * 0.5 * 60 * 0.5
    known = catalogue({"a/v": (0.9, 10.0)}, provisioned("cpu", usd_per_h), always)
    found = planned(known, [demand("a", 0.5)])
    assert set(found.residency) == {"inline"}
    assert found.usd_per_h == 0.0


def test_the_budget_binds_and_goes_where_it_is_worth_most() -> None:
    known = catalogue(
        {f"t{i}/v": (0.9, 10.0) for i in range(2)}, provisioned("a", 0.002), provisioned("b", 0.002), memory_mb=500.0
    )
    demands = [demand("t0", 0.3), demand("t1", 0.6)]
    whole = planned(known, demands)
    half = planned(known, demands, budget_usd_per_h=0.003)
    none = planned(known, demands, budget_usd_per_h=0.0)
    assert len(warmed(whole)) == 2
    assert {p.partition("/")[0] for p in warmed(half)} == {"t1"}
    assert half.usd_per_h <= 0.003 < whole.usd_per_h
    assert warmed(none) == {}


def test_the_order_of_demands_and_a_second_look_change_nothing() -> None:
    known = catalogue({f"t{i}/v": (0.9 - i / 100, 10.0) for i in range(5)}, tier("a"), tier("b"), memory_mb=300.0)
    demands = [demand(f"t{i}", 0.1 + 0.15 * i) for i in range(5)]
    once, again, reversed_ = (planned(known, d) for d in (demands, demands, demands[::-1]))
    assert once == again
    assert once.residency == reversed_.residency


def test_who_comes_while_it_starts_counts_too() -> None:
    """At ten requests a second and two seconds of start and load, 21 would be late instead of one."""
    usd_per_h = 0.9e-3 * 0.1 * 60 * 10
    known = catalogue({"a/v": (0.9, 10.0)}, provisioned("cpu", usd_per_h))
    assert not warmed(planned(known, [demand("a", 0.1)]))
    assert warmed(planned(known, [demand("a", 0.1, rate=10.0)]))


def test_requests_that_overlap_have_copies() -> None:
    """As many as the last pays for; one that is used once more every 150 s costs next to nothing."""
    known = catalogue({"a/v": (0.9, 1000.0)}, tier("cpu"))
    assert planned(known, [demand("a", 1.0, rate=0.0001, latency_ms=1500.0)]).copies == {"cpu": 1}
    found = planned(known, [demand("a", 0.5, rate=2.0, latency_ms=1500.0)]).copies["cpu"]
    assert copies_for(1.0) < found <= copies_for(1.0, NEARLY_ALL)
    assert planned(known, [demand("a", 1.0, rate=100.0, latency_ms=1500.0)]).copies == {"cpu": 10}


def test_what_all_runs_share_is_one_copy_whatever_the_load() -> None:
    gpu = tier("gpu", kind=TierKind.GPU, price=Price(1e-6, usd_per_idle_s=1e-6), concurrency=4)
    found = planned(catalogue({"a/v": (0.9, 100.0)}, gpu), [demand("a", 1.0, rate=50.0, latency_ms=1500.0)])
    assert found.copies == {"gpu": 1}
    assert found.actions[0].copies == 1  # type: ignore[union-attr]


@pytest.mark.parametrize(("usd_per_minute", "copies"), [(3e-5, 1), (1e-5, 2)])
def test_a_copy_more_has_to_pay_for_itself(usd_per_minute: float, copies: int) -> None:
    """At a load of 0.02 one copy is free for 98.04 % of 1.2 requests a minute, two for 99.98 %: worth 21 millionths."""
    known = catalogue({"a/v": (0.9, 1000.0)}, provisioned("cpu", 60 * usd_per_minute))
    assert planned(known, [demand("a", 1.0, rate=0.02, latency_ms=1500.0)]).copies == {"cpu": copies}


def test_room_is_made_for_what_is_planned_and_no_more() -> None:
    known = catalogue({f"t{i}/v": (0.9, 10.0) for i in range(5)}, tier("cpu"), memory_mb=250.0)
    ready = EnvironmentReady("cpu", "e", ("t0/v", "t1/v", "t2/v"), 0.0)
    found = planned(known, [demand("t3", 0.5), demand("t0", 0.5)], ready)
    assert set(warmed(found)) == {"t0/v@cpu:1", "t3/v@cpu:1"}
    unloaded = [action.placement.variant for action in found.actions if isinstance(action, Unload)]
    assert unloaded == ["t1/v"]
    assert [type(action) for action in found.actions] == [Unload, Warm, Warm]


def test_processes_that_idle_for_nothing_are_shrunk_and_lambda_is_left_alone() -> None:
    for kind, shrunk in ((TierKind.PROCESS, 1), (TierKind.LAMBDA, 0)):
        known = catalogue({"a/v": (0.9, 10.0)}, tier("cpu", kind=kind))
        events = [EnvironmentReady("cpu", f"e{i}", ("a/v",), 0.0) for i in range(3)]
        found = planned(known, [demand("a", 0.9)], *events, EnvironmentBusy("cpu", "e0", 1.0), now=200.0)
        assert [a.copies for a in found.actions if isinstance(a, Shrink)] == [1] * shrunk
        assert not any(isinstance(a, Shrink) for a in planned(known, [demand("a", 0.9)], *events, now=100.0).actions)


def test_what_is_used_between_two_requests_is_not_shrunk() -> None:
    """Of two that are long idle one is planned, so one goes; what was used a moment ago, or starts, is none of them."""
    known = catalogue({"a/v": (0.9, 10.0)}, tier("cpu", kind=TierKind.PROCESS))
    long_idle = [EnvironmentReady("cpu", f"old{i}", ("a/v",), 0.0) for i in range(2)]
    used = [EnvironmentReady("cpu", f"new{i}", ("a/v",), 199.0) for i in range(3)]
    starting = [EnvironmentStarting("cpu", f"next{i}", 199.0) for i in range(3)]
    found = planned(known, [demand("a", 0.9)], *long_idle, *used, *starting, now=200.0)
    assert [a.copies for a in found.actions if isinstance(a, Shrink)] == [4]
    alone = planned(known, [demand("a", 0.9)], long_idle[0], *used, *starting, now=200.0)
    assert not any(isinstance(a, Shrink) for a in alone.actions)


def test_an_endpoint_that_requests_use_is_not_taken_from_them() -> None:
    gpu = tier("gpu", kind=TierKind.GPU, price=Price(1e-4, usd_per_idle_s=3e-4), concurrency=1)
    known = catalogue({"a/v": (0.9, 10.0)}, gpu)
    used = EnvironmentReady("gpu", "e", ("a/v",), 100.0)
    assert [(a.copies, "used lately" in a.reason) for a in planned(known, [], used, now=200.0).actions] == [(1, True)]
    assert [a.copies for a in planned(known, [], used, now=300.0).actions] == [0]


def test_what_is_planned_fits_into_what_an_environment_keeps_resident() -> None:
    facts = ((TierKind.PROCESS, 400, 208.0), (TierKind.PROCESS, 300, 150.0), (TierKind.LAMBDA, 1769, 1415.2))
    for kind, memory_mb, room in (*facts, (TierKind.INLINE, 2048, 1536.0)):
        assert room_mb(tier("t", kind=kind, memory_mb=memory_mb)) == pytest.approx(room)
    assert (RESERVE_MB, INLINE_SHARE) == (worker.RESERVE_MB, inline.ENVIRONMENT_SHARE)
    known = catalogue({f"t{i}/v": (0.9, 10.0) for i in range(4)}, tier("cpu", memory_mb=400), memory_mb=80.0)
    assert len(planned(known, [demand(f"t{i}", 0.5) for i in range(4)]).residency["cpu"]) == 2


def test_what_is_asked_for_least_is_unloaded_once_whatever_its_placements() -> None:
    """Four times 250 MB and a fifth do not fit; of one variant's two placements one is named."""
    known = catalogue({f"t{i}/v": (0.9, 10.0) for i in range(4)}, tier("cpu"), memory_mb=250.0)
    twice = Placement("t1/v", "cpu", threads=2)
    known = known.with_placements(twice).with_profiles(replace(known.profiles["t1/v@cpu:1"], placement=twice.id))
    ready = EnvironmentReady("cpu", "e", ("t0/v", "t1/v", "t2/v"), 0.0)
    small = Demand("t2", 0.3, 0.0, Request("t2", Slo(min_accuracy=0.99)))
    found = planned(known, [demand("t3", 0.5), demand("t0", 0.5), small], ready)
    assert [a.placement.variant for a in found.actions if isinstance(a, Unload)] == ["t1/v"]


def test_each_environment_has_its_own_room() -> None:
    known = catalogue({f"t{i}/v": (0.9, 10.0) for i in range(4)}, tier("cpu"), memory_mb=250.0)
    apart = [EnvironmentReady("cpu", f"e{i}", (f"t{i}/v",), 0.0) for i in range(3)]
    assert not any(isinstance(a, Unload) for a in planned(known, [demand("t3", 0.5)], *apart).actions)


def test_fewer_copies_than_suffice_are_better_than_none() -> None:
    """Five copies are worth it for a load of one; the budget pays for one, which is free for a part of the requests."""
    known = catalogue({"a/v": (0.9, 1000.0)}, provisioned("cpu", 0.01))
    asked = [demand("a", 1.0, rate=1.0, latency_ms=1500.0)]
    whole, half = planned(known, asked), planned(known, asked, budget_usd_per_h=0.015)
    assert (whole.copies, half.copies) == ({"cpu": 5}, {"cpu": 1})
    assert half.usd_per_h == pytest.approx(0.01)
    assert 0 < half.gain_usd_per_h < whole.gain_usd_per_h
    assert planned(known, asked, budget_usd_per_h=0.009).copies == {}


def test_an_endpoint_without_demand_goes_to_zero() -> None:
    gpu = tier("gpu", kind=TierKind.GPU, price=Price(1e-4, usd_per_idle_s=3e-4), concurrency=1)
    known = catalogue({"a/v": (0.9, 10.0)}, gpu)
    assert planned(known, [demand("a", 0.01)]).actions == (
        Provision("gpu", 0, "0 copies are planned for the next 60 s"),
    )
    busy = planned(known, [demand("a", 1.0, rate=50.0)])
    assert busy.actions[0] == Provision("gpu", 1, "1 copies are planned for the next 60 s")
    assert set(warmed(busy)) == {"a/v@gpu:1"}


def test_a_caller_without_a_deadline_is_patient_for_a_second() -> None:
    known = catalogue({"a/v": (0.9, 10.0), "b/v": (0.9, 2000.0)}, tier("cpu"))
    found = planned(known, [demand("a", 0.5, latency_ms=None), demand("b", 0.5, latency_ms=None)])
    assert set(warmed(found)) == {"a/v@cpu:1"}


def test_nothing_is_planned_for_nobody() -> None:
    assert planned(catalogue({"a/v": (0.9, 10.0)}, tier("cpu")), []).actions == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"period_s": 0.0}, "period_s: 0.0 is impossible"),
        ({"budget_usd_per_h": -1.0}, "budget_usd_per_h: -1.0 is impossible"),
        ({"budget_usd_per_h": math.nan}, "budget_usd_per_h: nan is impossible"),
    ],
)
def test_impossible_settings_are_refused(change: dict[str, float], message: str) -> None:
    known = catalogue({"a/v": (0.9, 10.0)}, tier("cpu"))
    with pytest.raises(ValueError, match=message):
        plan(known, Fleet.empty(known), [], 0.0, **({"period_s": 60.0} | change))
    with pytest.raises(ValueError, match=r"ask 1.5 or rate 0.0 is impossible"):
        plan(known, Fleet.empty(known), [replace(demand("a", 0.5), ask=1.5)], 0.0, period_s=60.0)


def test_what_is_at_home_stays_there_and_who_is_crowded_out_moves() -> None:
    known = catalogue({f"t{i}/v": (0.9, 10.0) for i in range(5)}, tier("shard-a"), tier("shard-b"), memory_mb=200.0)
    at_home = EnvironmentReady("shard-b", "b", ("t0/v", "t1/v", "t2/v"), 0.0)
    stays = planned(known, [demand(f"t{i}", 0.9 - 0.1 * i) for i in range(3)], at_home)
    assert set(stays.residency) == {"shard-b"}
    full = EnvironmentReady("shard-b", "b", ("t0/v", "t1/v", "t2/v", "t3/v"), 0.0)
    moves = planned(known, [*(demand(f"t{i}", 0.5 - 0.1 * i) for i in range(4)), demand("t4", 0.9)], full)
    assert {p.partition("/")[0] for p in moves.residency["shard-b"]} == {"t0", "t1", "t2", "t4"}
    assert moves.residency["shard-a"] == ("t3/v@shard-a:1",)


@pytest.mark.parametrize(("idle_timeout_s", "kept"), [(60.0, False), (300.0, True)])
def test_a_start_is_paid_back_over_the_time_that_an_idle_environment_lives(idle_timeout_s: float, kept: bool) -> None:
    """Start and load cost 20 millionths of a dollar, and a ready answer is worth 900 of them, once in 60 minutes."""
    known = catalogue({"a/v": (0.9, 10.0)}, tier("cpu", idle_timeout_s=idle_timeout_s))
    assert bool(warmed(planned(known, [demand("a", 1 / 60)]))) == kept
