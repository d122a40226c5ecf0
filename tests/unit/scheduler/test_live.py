"""What beliefs make of a decision's expectations."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from benchmarks import synthetic
from benchmarks.reference import rank
from registry.model import Objective, Slo
from scheduler.choose import choose
from scheduler.coverage import FADES_S
from scheduler.errors import FleetError
from scheduler.events import EnvironmentReady, Measured, Queued
from scheduler.fleet import Fleet
from scheduler.live import FRESH_S, columns_of
from scheduler.requests import Request

A = "t/a@cpu:1"


def answered(fleet, placement=A, *, service_ms, rows=1):
    """The fleet after many answers of which nothing was predicted."""
    for _ in range(40):
        fleet = fleet.apply(Measured(placement, rows, service_ms, (), service_ms, 0.0))
    return fleet


def warm(catalogue, *variants):
    return Fleet.empty(catalogue).apply(EnvironmentReady("cpu", "e", variants, 0.0))


def first(fleet, *, now=0.0, rows=1, task="t", **slo):
    return choose(Request(task, Slo(**slo), rows), fleet.layout.catalogue, fleet, now).ranked[0]


def test_without_outcomes_an_estimate_is_the_profiles_exactly(build, spec, ramp) -> None:
    fleet = warm(build(spec("a", service={1: ramp(10.0, 20.0)})), "t/a")
    before = first(fleet, latency_ms=18.0)
    # Of another tier, or as foreseen at the profile's own pace: nothing is known better.
    assert fleet.columns.live is None
    assert before == first(fleet.as_profiled(), latency_ms=18.0)
    assert before.latency_ms == pytest.approx(19.5)


def test_a_run_that_was_given_up_on_counts_only_where_it_is_slow_already(build, spec, ramp) -> None:
    fleet = warm(build(spec("a", service={1: ramp(10.0, 20.0)})), "t/a")
    early = late = fleet
    for _ in range(40):
        early = early.apply(Measured(A, 1, 1.0, first(fleet).quantiles_ms, 1.0, 0.0, answered=False))
        late = late.apply(Measured(A, 1, 30.0, first(fleet).quantiles_ms, 30.0, 0.0, answered=False))
    assert early.pace(A, 0.0) == 1.0
    assert first(early).quantiles_ms == first(fleet).quantiles_ms
    assert late.pace(A, 0.0) == pytest.approx(2.0, rel=0.05)
    assert first(late, percentile=95.0).latency_ms > 2 * first(fleet, percentile=95.0).latency_ms


def test_a_pace_scales_latency_cost_and_the_chance_to_be_on_time(build, spec, ramp) -> None:
    fleet = warm(build(spec("a", service={1: ramp(10.0, 20.0)})), "t/a")
    before = first(fleet, latency_ms=25.0)
    slow = first(answered(fleet, service_ms=30.0), latency_ms=25.0)
    pace = fleet.apply(Measured(A, 1, 1.0, (), None, 0.0)).pace(A, 0.0)
    assert pace == 1.0
    pace = answered(fleet, service_ms=30.0).pace(A, 0.0)
    assert pace == pytest.approx(2.0, rel=0.05)
    assert slow.busy_ms == pytest.approx(before.busy_ms * pace)
    assert slow.cost_usd == pytest.approx(before.cost_usd * pace, rel=0.05)
    assert slow.latency_ms > 1.5 * before.latency_ms
    assert slow.on_time < 0.5 < before.on_time


def test_only_the_service_of_a_start_is_scaled(build, spec, flat) -> None:
    catalogue = build(spec("a", service={1: flat(10.0), 2: flat(20.0)}, load=flat(30.0), init=flat(60.0)))
    loaded, cold = answered(warm(catalogue), service_ms=20.0), answered(Fleet.empty(catalogue), service_ms=20.0)
    extra = (loaded.pace(A, 0.0) - 1.0) * 10.0
    assert first(loaded).busy_ms == pytest.approx(40.0 + extra)
    assert first(cold).busy_ms == pytest.approx(100.0 + extra)


def test_outcomes_of_another_batch_size_count_by_their_own_profile(build, spec, flat) -> None:
    fleet = warm(build(spec("a", service={1: flat(10.0), 8: flat(40.0)})), "t/a")
    assert answered(fleet, service_ms=40.0, rows=8).pace(A, 0.0) == 1.0
    assert answered(fleet, service_ms=80.0, rows=8).pace(A, 0.0) == pytest.approx(2.0, rel=0.05)


def test_late_answers_raise_what_is_predicted_at_a_percentile(build, spec, ramp) -> None:
    fleet = warm(build(spec("a", service={1: ramp(10.0, 20.0)})), "t/a")
    times = first(fleet).quantiles_ms
    late = fleet
    for _ in range(3):
        late = late.apply(Measured(A, 1, 100.0, times, None, 0.0))
    before, after = first(fleet, latency_ms=18.0), first(late, latency_ms=18.0)
    assert before.latency_ms < after.latency_ms < 22.0
    assert after.on_time < before.on_time
    assert list(after.quantiles_ms) == sorted(after.quantiles_ms)
    assert after.busy_ms == before.busy_ms


@pytest.mark.parametrize("percentile", [7.0, 50.0, 62.5, 93.0, 99.5])
@pytest.mark.parametrize("queued", [False, True])
def test_a_deadline_at_a_percentile_is_met_with_that_probability(build, spec, ramp, percentile, queued) -> None:
    """Whatever is believed, and whoever waits: the percentile and the chance are read from one distribution."""
    fleet = warm(build(spec("a", service={1: ramp(10.0, 20.0)})), "t/a")
    times = first(fleet).quantiles_ms
    for latency_ms in (100.0, 12.0, 100.0):
        fleet = fleet.apply(Measured(A, 1, latency_ms, times, 30.0, 0.0))
    for serial in range(4 if queued else 0):
        fleet = fleet.apply(Queued(A, f"r{serial}", 15.0, 0.0))
    latency_ms = first(fleet, percentile=percentile).latency_ms
    assert (first(fleet).wait_ms > 0) is queued
    assert first(fleet, latency_ms=latency_ms).on_time == pytest.approx(percentile / 100)


OTHER = "other/big@cpu:1"


@pytest.fixture
def shared(build, spec, ramp):
    """A tier that has placements of two tasks."""
    catalogue = build(spec("a", service={1: ramp(10.0, 20.0)}))
    of_t = catalogue.profiles[A]
    other = replace(catalogue.variants["t/a"], task="other", name="big")
    catalogue = catalogue.with_tasks(replace(catalogue.tasks["t"], name="other")).with_variants(other)
    catalogue = catalogue.with_placements(replace(catalogue.placements[A], variant=other.id))
    catalogue = catalogue.with_profiles(replace(of_t, placement=OTHER))
    return warm(catalogue, "t/a", "other/big")


def test_what_one_task_is_late_by_moves_nothing_of_another_on_its_tier(shared) -> None:
    erratic = shared
    for i in range(300):
        erratic = erratic.apply(Measured(OTHER, 1, 1e6, first(erratic, task="other").quantiles_ms, None, 0.001 * i))
    assert first(erratic, task="other").latency_ms > 3 * first(shared, task="other").latency_ms
    assert first(erratic, latency_ms=18.0) == first(shared, latency_ms=18.0)


def test_one_tasks_outcomes_leave_what_is_believed_of_another_as_it_is(shared) -> None:
    known = shared.apply(Measured(A, 1, 100.0, first(shared).quantiles_ms, None, 0.0))
    erratic = known.apply(Measured(OTHER, 1, 1e6, first(known, task="other").quantiles_ms, None, 1.0))
    assert erratic.columns.live.levels["t"] is known.columns.live.levels["t"]
    assert first(erratic, now=1.0) == first(known, now=1.0) != first(shared, now=1.0)


def test_a_slow_run_of_one_task_moves_another_by_no_more_than_what_the_tier_shares(shared) -> None:
    slow = answered(shared, OTHER, service_ms=1500.0)
    assert slow.pace(OTHER, 0.0) > 50.0
    assert first(slow).latency_ms <= first(shared).latency_ms * math.sqrt(2.0)


def test_tasks_that_share_a_tier_are_expected_as_the_reference_does(shared) -> None:
    random, fleet, now = Random(3), shared, 0.0
    for placement, task in random.choices(((A, "t"), (OTHER, "other")), (1, 3), k=60):
        now += random.choice((0.1, 5.0, 90.0))
        expected = first(fleet, now=now, task=task).quantiles_ms
        service_ms = random.choice((None, 12.0, 60.0))
        fleet = fleet.apply(Measured(placement, 1, random.uniform(5.0, 40.0), expected, service_ms, now))
        for name in ("t", "other"):
            (theirs,) = rank(Request(name, Slo(percentile=95.0)), fleet.layout.catalogue, fleet, now + 1.0)
            assert first(fleet, now=now + 1.0, task=name, percentile=95.0).latency_ms == pytest.approx(
                theirs.latency_ms
            )


def test_margins_of_a_task_that_is_gone_are_dropped(shared, build, spec, ramp) -> None:
    both = shared
    for placement, task in ((A, "t"), (OTHER, "other")):
        both = both.apply(Measured(placement, 1, 100.0, first(both, task=task).quantiles_ms, None, 0.0))
    again = both.follow(build(spec("a", service={1: ramp(10.0, 20.0)})))
    assert set(again.beliefs[0].moved) == set(again.columns.live.levels) == {"t"}
    assert first(again) == first(both)


def test_margins_have_an_end_and_what_they_made_infeasible_comes_back(build, spec, ramp) -> None:
    fleet = warm(build(spec("a", service={1: ramp(10.0, 20.0)})), "t/a")
    for i in range(300):
        fleet = fleet.apply(Measured(A, 1, 1e6, first(fleet).quantiles_ms, None, 0.001 * i))
    slo = {"latency_ms": 60.0, "percentile": 95.0}
    assert first(fleet, **slo).broken == ("latency_ms",)
    assert first(fleet, **slo).latency_ms <= 20.0 * math.exp(0.5 * 6.0)
    assert first(fleet, now=10 * FADES_S, **slo).broken == ()


def test_beliefs_fade_with_time(build, spec, flat) -> None:
    fleet = answered(warm(build(spec("a")), "t/a"), service_ms=20.0)
    now = first(fleet, now=0.0).busy_ms
    later = [first(fleet, now=seconds).busy_ms for seconds in (FRESH_S / 2, FADES_S, 100 * FADES_S)]
    assert later[0] == now
    assert later[1] == pytest.approx(10.0 * math.exp(math.log(fleet.pace(A, 0.0)) / math.e))
    assert later[2] == pytest.approx(10.0)


def test_columns_kept_up_to_date_are_those_made_anew() -> None:
    random = Random(5)
    fleet, now = synthetic.after(Fleet.empty(synthetic.catalogue(40)), 50, random)
    for _ in range(30):
        fleet, now = synthetic.lived(fleet, 20, random, now)
        kept = fleet.columns.live
        made = columns_of(fleet.layout, fleet.beliefs, kept.as_of)
        for name in ("pace", "paced_at"):
            np.testing.assert_array_equal(getattr(kept, name), getattr(made, name))
        assert list(kept.levels) == list(made.levels) == [synthetic.TASK]
        told, anew = kept.levels[synthetic.TASK], made.levels[synthetic.TASK]
        np.testing.assert_array_equal(told.margins, anew.margins)
        np.testing.assert_array_equal(told.margins_at, anew.margins_at)
        later = now + 2 * FRESH_S
        np.testing.assert_allclose(told.now(later).scores, anew.now(later).scores)
        assert (kept.slower is None) == (made.slower is None)
        if kept.slower is not None:
            np.testing.assert_allclose(kept.slower, made.slower)
    assert kept.slower is not None


def test_a_newer_catalogue_keeps_beliefs_about_profiles_that_are_the_same(build, spec, flat) -> None:
    fleet = answered(warm(build(spec("a"), spec("b")), "t/a", "t/b"), service_ms=20.0)
    fleet = answered(fleet, "t/b@cpu:1", service_ms=20.0)
    again = fleet.follow(build(spec("a"), spec("b", service={1: flat(11.0), 2: flat(12.0)})))
    assert again.pace(A, 0.0) == fleet.pace(A, 0.0)
    assert "t/b@cpu:1" not in again.beliefs[0].drifts
    assert again.columns.live is not None


@pytest.mark.parametrize(
    "event",
    [
        Measured("t/none@cpu:1", 1, 1.0, (), None, 0.0),
        Measured(A, 0, 1.0, (), None, 0.0),
        Measured(A, 1, math.nan, (), None, 0.0),
        Measured(A, 1, 1.0, (1.0,), None, 0.0),
        Measured(A, 1, 1.0, (), -1.0, 0.0),
        Measured(A, 1, 1.0, (), None, math.inf),
    ],
    ids=str,
)
def test_an_answer_that_cannot_have_been_is_refused(build, spec, event) -> None:
    fleet = warm(build(spec("a")), "t/a")
    with pytest.raises(FleetError):
        fleet.apply(event)


def test_an_unprofiled_placement_tells_nothing_of_its_pace(build, spec) -> None:
    fleet = answered(warm(build(spec("a", profiled=False), spec("b"))), service_ms=50.0)
    assert fleet.pace(A, 0.0) == 1.0


def test_reasons_say_when_live_service_differs(build, spec, flat) -> None:
    catalogue = build(
        spec("a", service={1: flat(10.0), 2: flat(20.0)}), spec("b", service={1: flat(15.0), 2: flat(30.0)})
    )
    fleet = answered(warm(catalogue, "t/a", "t/b"), service_ms=20.0)
    fleet = answered(fleet, "t/b@cpu:1", service_ms=15.0)
    decision = choose(Request("t", Slo(objective=Objective.LATENCY)), catalogue, fleet, 0.0)
    assert decision.ranked[0].placement.id == "t/b@cpu:1"
    assert "times its profile" in decision.why_not()[A]
    assert "live service" not in decision.reason
