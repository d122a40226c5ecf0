"""What beliefs make of a decision's expectations."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest

from benchmarks import synthetic
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


def first(fleet, *, now=0.0, rows=1, **slo):
    return choose(Request("t", Slo(**slo), rows), fleet.layout.catalogue, fleet, now).ranked[0]


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
        for name in ("pace", "paced_at", "margins", "margins_at"):
            np.testing.assert_array_equal(getattr(kept, name), getattr(made, name))
        np.testing.assert_allclose(kept.levels.scores, made.levels.scores)
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
