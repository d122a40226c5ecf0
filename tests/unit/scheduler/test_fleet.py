from __future__ import annotations

import math
import re
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from benchmarks import synthetic
from registry.catalogue import Catalogue
from registry.model import StartMode, TierKind
from scheduler.columns import Columns, Refusal
from scheduler.errors import FleetError
from scheduler.events import (
    AccuracyJudged,
    EnvironmentBusy,
    EnvironmentGone,
    EnvironmentReady,
    EnvironmentStarting,
    Event,
    Finished,
    PlacementFailed,
    Queued,
    SnapshotTaken,
    TierUnavailable,
    VariantCleared,
    VariantQuarantined,
)
from scheduler.fleet import Fleet

A, B = "t/a@cpu:1", "t/b@cpu:1"


@pytest.fixture
def catalogue(build, spec) -> Catalogue:
    return build(spec("a"), spec("b"))


def fleet_of(catalogue: Catalogue, *events: Event) -> Fleet:
    fleet = Fleet.empty(catalogue)
    for event in events:
        fleet = fleet.apply(event)
    return fleet


def assert_same(found: Columns, expected: Columns) -> None:
    for name in ("resident_until", "holders", "refused_until", "free_until", "full", "wait", "any_full"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


def ready(name: str, *resident: str, now: float = 0.0) -> EnvironmentReady:
    return EnvironmentReady("cpu", name, resident, now)


def test_an_empty_fleet_has_nothing(catalogue) -> None:
    fleet = Fleet.empty(catalogue)
    tier = fleet.tier("cpu")
    assert (tier.idle, tier.busy, tier.starting, tier.backlog_ms) == (0, 0, 0, 0.0)
    assert fleet.columns.resident_until.tolist() == [-math.inf, -math.inf]
    assert fleet.columns.refused_until.tolist() == [-math.inf, -math.inf]
    assert fleet.idle_with(A) == 0


def test_the_life_of_an_environment(catalogue) -> None:
    fleet = fleet_of(catalogue, EnvironmentStarting("cpu", "e", 0.0))
    assert fleet.tier("cpu").starting == 1
    fleet = fleet.apply(ready("e", "t/a", now=1.0))
    assert (fleet.tier("cpu").idle, fleet.idle_with(A), fleet.idle_with(B)) == (1, 1, 0)
    assert fleet.columns.resident_until.tolist() == [101.0, -math.inf]
    assert fleet.columns.free_until.tolist() == [101.0]
    fleet = fleet.apply(EnvironmentBusy("cpu", "e", 2.0))
    assert (fleet.tier("cpu").busy, fleet.idle_with(A)) == (1, 0)
    assert fleet.columns.resident_until.tolist() == [-math.inf, -math.inf]
    assert fleet.columns.holders.tolist() == [1, 0]
    fleet = fleet.apply(ready("e", "t/b", now=3.0))
    assert fleet.columns.resident_until.tolist() == [-math.inf, 103.0]
    fleet = fleet.apply(EnvironmentGone("cpu", "e", "expired", 4.0))
    assert fleet.tier("cpu").environments == {}
    assert fleet.columns.resident_until.tolist() == [-math.inf, -math.inf]


def test_an_event_leaves_the_fleet_that_it_was_applied_to(catalogue) -> None:
    before = fleet_of(catalogue, ready("e", "t/a"))
    columns = {
        name: np.copy(getattr(before.columns, name)) for name in ("resident_until", "free_until", "full", "wait")
    }
    before.apply(EnvironmentBusy("cpu", "e", 1.0)).apply(Queued(A, "r", 5.0, 1.0)).apply(Queued(A, "s", 5.0, 1.0))
    before.apply(TierUnavailable("cpu", "throttled", 9.0, 1.0))
    for name, values in columns.items():
        np.testing.assert_array_equal(getattr(before.columns, name), values)
    assert before.tier("cpu").idle == 1
    assert before.columns.refused_until.tolist() == [-math.inf, -math.inf]


def test_requests_make_the_backlog(catalogue) -> None:
    fleet = fleet_of(catalogue, Queued(A, "r", 30.0, 0.0), Queued(B, "r", 12.0, 0.0))
    assert fleet.tier("cpu").backlog_ms == 42.0
    assert fleet.columns.full.tolist() == [True]
    assert fleet.columns.wait[0].tolist() == [pytest.approx(21 / 3)]
    fleet = fleet.apply(Finished(A, "r", 31.0, True, 1.0))
    assert fleet.tier("cpu").backlog_ms == 12.0
    assert not fleet.columns.any_full


def test_refusals(catalogue) -> None:
    fleet = fleet_of(catalogue, TierUnavailable("cpu", "throttled", 5.0, 0.0), PlacementFailed(A, "broke", 9.0, 0.0))
    assert fleet.columns.refused_until.tolist() == [9.0, 5.0]
    assert fleet.tier("cpu").reason == "throttled"
    assert fleet.failing == {A: Refusal("broke", 9.0)}
    fleet = fleet.apply(VariantQuarantined("t/b", "digest", 1.0))
    assert fleet.columns.refused_until.tolist() == [9.0, math.inf]
    assert fleet.quarantined == {"t/b": "digest"}
    fleet = fleet.apply(VariantCleared("t/b", 2.0)).apply(TierUnavailable("cpu", "", 2.0, 2.0))
    assert fleet.columns.refused_until.tolist() == [9.0, 2.0]


def test_inline_is_one_environment_that_runs_several_requests(build, spec, tier) -> None:
    inline = tier("inline", kind=TierKind.INLINE, start_mode=StartMode.ALWAYS, concurrency=2)
    fleet = fleet_of(build(spec("a", "inline"), tiers=(inline,)), EnvironmentReady("inline", "here", ("t/a",), 0.0))
    assert fleet.columns.resident_until.tolist() == [math.inf]
    busy = EnvironmentBusy("inline", "here", 1.0)
    one = fleet.apply(busy)
    two = one.apply(busy)
    assert [f.tier("inline").running for f in (fleet, one, two)] == [0, 1, 2]
    assert [f.columns.resident_until[0] for f in (one, two)] == [math.inf, math.inf]
    assert [f.columns.free_until[0] for f in (one, two)] == [math.inf, -math.inf]
    assert [bool(f.columns.full[0]) for f in (one, two)] == [False, True]
    with pytest.raises(FleetError):
        two.apply(busy)
    assert two.apply(EnvironmentReady("inline", "here", ("t/a",), 2.0)).tier("inline").running == 1


@pytest.mark.parametrize(
    ("event", "problem"),
    [
        (EnvironmentBusy("cpu", "nobody", 0.0), "EnvironmentBusy cannot happen to environment 'nobody'"),
        (EnvironmentGone("cpu", "nobody", "crashed", 0.0), "which is gone"),
        (EnvironmentStarting("cpu", "e", 0.0), "which is idle"),
        (EnvironmentReady("tpu", "e", (), 0.0), "no tier 'tpu' in catalogue version 0"),
        (TierUnavailable("tpu", "throttled", 1.0, 0.0), "no tier 'tpu'"),
        (TierUnavailable("cpu", "throttled", math.nan, 0.0), "not a time"),
        (Queued("t/c@cpu:1", "r", 1.0, 0.0), "no placement 't/c@cpu:1'"),
        (Queued(A, "q", 1.0, 0.0), "request 'q' is queued for 't/a@cpu:1' already"),
        (Queued(A, "r", -1.0, 0.0), "cannot be expected to take -1.0 ms"),
        (Queued(A, "r", math.nan, 0.0), "nan ms"),
        (Queued(A, "r", 1e200, 0.0), "1e+200 ms"),
        (Finished(A, "r", 1.0, True, 0.0), "request 'r' is not queued"),
        (Finished("t/c@cpu:1", "q", 1.0, True, 0.0), "request 'q' is not queued for 't/c@cpu:1'"),
        (PlacementFailed("t/c@cpu:1", "broke", 1.0, 0.0), "no placement"),
        (VariantQuarantined("t/c", "digest", 0.0), "no variant 't/c'"),
        (VariantCleared("t/a", 0.0), "variant 't/a' is not quarantined"),
        (AccuracyJudged("t/c", 0.5, 0.0), "no variant 't/c'"),
        (AccuracyJudged("t/a", 1.5, 0.0), "cannot have an accuracy of 1.5"),
        (AccuracyJudged("t/a", math.nan, 0.0), "cannot have an accuracy of nan"),
    ],
)
def test_what_cannot_have_happened_is_refused(catalogue, event: Event, problem: str) -> None:
    fleet = fleet_of(catalogue, ready("e", "t/a"), Queued(A, "q", 1.0, 0.0))
    with pytest.raises(FleetError, match=re.escape(problem)):
        fleet.apply(event)
    assert_same(fleet.columns, fleet_of(catalogue, ready("e", "t/a"), Queued(A, "q", 1.0, 0.0)).columns)


def test_unknown_names_are_refused(catalogue) -> None:
    with pytest.raises(FleetError):
        Fleet.empty(catalogue).tier("tpu")
    with pytest.raises(FleetError):
        Fleet.empty(catalogue).idle_with("t/c@cpu:1")


def test_following_carries_state_by_name(catalogue, build, spec, tier) -> None:
    fleet = fleet_of(
        catalogue,
        ready("e", "t/b"),
        SnapshotTaken("cpu", ("t/b", "t/gone"), 0.0),
        Queued(A, "r", 7.0, 0.0),
        PlacementFailed(B, "broke", 9.0, 0.0),
        TierUnavailable("cpu", "throttled", 5.0, 0.0),
        VariantQuarantined("t/a", "digest", 0.0),
    )
    newer = build(spec("b"), spec("c"), spec("c", "new"), tiers=(tier("cpu"), tier("new")))
    followed = fleet.follow(newer)
    assert followed.layout.catalogue is newer
    assert followed.tier("cpu").idle == 1
    assert followed.idle_with(B) == 1
    assert followed.columns.restored.tolist() == [True, False, False]
    assert followed.quarantined == {}
    assert followed.columns.refused_until.tolist() == [9.0, 5.0, -math.inf]
    assert followed.tier("new").live == 0
    assert followed.apply(Finished(A, "r", 1.0, True, 1.0)).tier("cpu").backlog_ms == 0.0


def test_a_variant_that_is_made_anew_is_not_quarantined_for_what_it_was(catalogue) -> None:
    fleet = fleet_of(catalogue, VariantQuarantined("t/a", "for another CPU", 0.0))
    again = catalogue.with_variants(replace(catalogue.variants["t/a"], accuracy=catalogue.variants["t/b"].accuracy))
    assert fleet.follow(again).quarantined == {"t/a": "for another CPU"}
    made = fleet.follow(again.with_variants(replace(catalogue.variants["t/a"], artifact="blake3:new")))
    assert made.quarantined == {}
    assert made.columns.refused_until.tolist() == [-math.inf, -math.inf]


def test_a_judged_accuracy_stands_until_the_catalogue_says_another(catalogue, build, spec) -> None:
    fleet = fleet_of(catalogue, AccuracyJudged("t/b", 0.5, 0.0))
    assert catalogue.variants["t/a"].accuracy.value == 0.9
    assert fleet.columns.accuracy is not None
    assert fleet.columns.accuracy.tolist() == [0.9, 0.5]
    again = fleet.apply(AccuracyJudged("t/b", 0.6, 1.0)).apply(AccuracyJudged("t/a", 0.7, 1.0))
    assert again.columns.accuracy is not None
    assert (fleet.columns.accuracy.tolist(), again.columns.accuracy.tolist()) == ([0.9, 0.5], [0.7, 0.6])
    followed = again.follow(build(spec("a"), spec("b", accuracy=0.6), spec("c")))
    assert followed.judged == {"t/a": 0.7}
    assert followed.columns.accuracy is not None
    assert followed.columns.accuracy.tolist() == [0.7, 0.6, 0.9]
    assert followed.follow(build(spec("b"))).columns.accuracy is None


def test_following_the_same_snapshot_is_free(catalogue) -> None:
    fleet = Fleet.empty(catalogue)
    assert fleet.follow(catalogue) is fleet


def test_a_tier_that_shrinks_keeps_its_running_requests(build, spec, tier) -> None:
    def inline(concurrency: int) -> Catalogue:
        found = tier("inline", kind=TierKind.INLINE, start_mode=StartMode.ALWAYS, concurrency=concurrency)
        return build(spec("a", "inline"), tiers=(found,))

    busy = EnvironmentBusy("inline", "here", 0.0)
    fleet = fleet_of(inline(3), EnvironmentReady("inline", "here", (), 0.0), busy, busy, busy).follow(inline(2))
    assert (fleet.tier("inline").running, fleet.tier("inline").full) == (3, True)
    for _ in range(3):
        fleet = fleet.apply(EnvironmentReady("inline", "here", (), 1.0))
    assert fleet.tier("inline").idle == 1


@pytest.mark.parametrize("seed", range(8))
def test_columns_after_many_events_are_those_made_from_the_state(seed: int) -> None:
    """What events change step by step is what a fleet that follows to an equal snapshot works out afresh."""
    catalogue = synthetic.catalogue(40, seed)
    fleet, _ = synthetic.after(Fleet.empty(catalogue), 300, Random(seed))
    assert_same(fleet.columns, fleet.follow(catalogue.at(1)).columns)
