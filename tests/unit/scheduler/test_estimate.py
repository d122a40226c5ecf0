from __future__ import annotations

import math

import numpy as np
import pytest

from registry.model import Estimate, Slo
from scheduler.estimate import outlook
from scheduler.events import (
    EnvironmentBusy,
    EnvironmentReady,
    EnvironmentStarting,
    Event,
    PlacementFailed,
    Queued,
    SnapshotTaken,
    TierUnavailable,
    VariantQuarantined,
)
from scheduler.fleet import Fleet
from scheduler.requests import Request
from scheduler.table import table_of

A = "t/a@cpu:1"
ANY = Slo()


@pytest.fixture
def catalogue(build, spec, flat):
    """Service 10 ms, load 5 ms, INIT 100 ms; a dollar a second."""
    return build(spec("a", service={1: flat(10.0)}, load=flat(5.0), init=flat(100.0)))


def expect(
    catalogue, *events: Event, now: float = 1.0, slo: Slo = ANY, rows: int = 1, elapsed: float = 0.0
) -> Estimate:
    fleet = Fleet.empty(catalogue)
    for event in events:
        fleet = fleet.apply(event)
    view = outlook(Request("t", slo, rows, elapsed), table_of(catalogue, "t"), fleet, now)
    return view.estimate(0, ())


def ready(name: str, *resident: str, now: float = 0.0) -> EnvironmentReady:
    return EnvironmentReady("cpu", name, resident, now)


def busy(name: str) -> EnvironmentBusy:
    return EnvironmentBusy("cpu", name, 0.5)


def summary(found: Estimate) -> tuple[float, float, bool, bool, float]:
    return found.latency_ms, round(found.cost_usd, 9), found.cold, found.load, found.wait_ms


def test_nothing_warm_is_a_cold_start(catalogue) -> None:
    assert summary(expect(catalogue)) == (115.0, 0.115, True, True, 0.0)


def test_a_warm_environment_without_the_variant_loads_it(catalogue) -> None:
    assert summary(expect(catalogue, ready("e", "t/b"))) == (15.0, 0.015, False, True, 0.0)


def test_a_warm_environment_with_the_variant_only_runs(catalogue) -> None:
    assert summary(expect(catalogue, ready("d"), ready("e", "t/a"))) == (10.0, 0.01, False, False, 0.0)


def test_a_snapshot_that_holds_the_variant_saves_the_load(catalogue) -> None:
    taken = SnapshotTaken("cpu", ("t/a",), 0.0)
    assert summary(expect(catalogue, taken)) == (110.0, 0.11, True, False, 0.0)
    assert summary(expect(catalogue, taken, ready("e", "t/b"))) == (15.0, 0.015, False, True, 0.0)
    assert summary(expect(catalogue, taken, SnapshotTaken("cpu", ("t/b",), 0.0))) == (115.0, 0.115, True, True, 0.0)


def test_an_environment_past_the_idle_timeout_is_cold(catalogue) -> None:
    assert expect(catalogue, ready("e", "t/a"), now=99.0).cold is False
    assert expect(catalogue, ready("e", "t/a"), now=100.0).cold is True


def test_a_busy_environment_leaves_room_for_a_start(catalogue) -> None:
    assert summary(expect(catalogue, ready("e", "t/a"), busy("e")))[2:] == (True, True, 0.0)


def test_a_request_that_is_queued_takes_the_idle_environment(catalogue) -> None:
    assert expect(catalogue, ready("e", "t/a"), Queued(A, "r", 10.0, 0.0)).cold is True


def test_a_full_tier_makes_a_request_wait(catalogue) -> None:
    """Two of two are busy with 12 ms each: the wait has mean 4 and variance 8 ms² before a constant 10 ms."""
    events = (
        ready("d", "t/a"),
        ready("e", "t/a"),
        Queued(A, "r", 12.0, 0.0),
        busy("d"),
        Queued(A, "s", 12.0, 0.0),
        busy("e"),
    )
    found = expect(catalogue, *events)
    assert summary(found) == (pytest.approx(10 + 4 + 1.6449 * math.sqrt(8), abs=1e-3), 0.01, False, False, 4.0)
    assert found.p50_ms == pytest.approx(14.0)


def test_after_a_wait_the_variant_is_resident_only_if_all_hold_it(catalogue) -> None:
    full = (ready("d", "t/a"), ready("e"), busy("d"), busy("e"))
    assert expect(catalogue, *full).load is True
    assert expect(catalogue, EnvironmentStarting("cpu", "d", 0.0), EnvironmentStarting("cpu", "e", 0.0)).load is True


def test_time_lost_since_arrival_counts(catalogue) -> None:
    found = expect(catalogue, ready("e", "t/a"), slo=Slo(latency_ms=11.0), elapsed=2.0)
    assert (found.latency_ms, found.p50_ms, found.on_time) == (12.0, 12.0, 0.0)
    assert expect(catalogue, ready("e", "t/a"), slo=Slo(latency_ms=12.0), elapsed=2.0).on_time == 0.999


def test_the_percentile_is_the_slos(build, spec, ramp) -> None:
    catalogue = build(spec("a", service={1: ramp(0.0, 100.0)}))
    for percentile in (1.0, 50.0, 62.5, 95.0, 99.9):
        found = expect(catalogue, ready("e", "t/a"), slo=Slo(percentile=percentile))
        assert found.latency_ms == pytest.approx(percentile)


def test_effective_accuracy_is_on_time_times_accuracy(build, spec, ramp) -> None:
    found = expect(
        build(spec("a", accuracy=0.8, service={1: ramp(0, 100)})), ready("e", "t/a"), slo=Slo(latency_ms=75.0)
    )
    assert (found.on_time, found.effective_accuracy) == (pytest.approx(0.75), pytest.approx(0.6))
    assert expect(build(spec("a", accuracy=0.8))).effective_accuracy == 0.8


@pytest.mark.parametrize(
    ("event", "refused"),
    [
        (TierUnavailable("cpu", "throttled", 2.0, 0.0), True),
        (TierUnavailable("cpu", "throttled", 1.0, 0.0), False),
        (PlacementFailed(A, "broke", 2.0, 0.0), True),
        (PlacementFailed(A, "broke", 1.0, 0.0), False),
        (VariantQuarantined("t/a", "digest", 0.0), True),
    ],
)
def test_what_is_refused_cannot_run(catalogue, event: Event, refused: bool) -> None:
    fleet = Fleet.empty(catalogue).apply(event)
    view = outlook(Request("t", Slo()), table_of(catalogue, "t"), fleet, 1.0)
    assert view.runnable.tolist() == [not refused]


def test_columns_and_values_agree(build, spec, ramp) -> None:
    """The estimate of one placement, made without arrays, is what the columns say; also behind a queue."""
    catalogue = build(*(spec(name, accuracy=0.5 + i / 10, service={1: ramp(i, 50.0)}) for i, name in enumerate("abc")))
    fleet = Fleet.empty(catalogue)
    for event in (Queued(A, "r", 9.0, 0.0), Queued(A, "s", 5.0, 0.0), Queued(A, "q", 5.0, 0.0)):
        fleet = fleet.apply(event)
    view = outlook(Request("t", Slo(latency_ms=30.0), 1, 3.0), table_of(catalogue, "t"), fleet, 1.0)
    every = np.arange(3)
    effective, grid = view.effective_accuracy(every), view.grid(every)
    for i in range(3):
        found = view.estimate(i, ())
        assert found.effective_accuracy == pytest.approx(effective[i], rel=1e-12)
        assert found.p50_ms == grid[4, i] + 3.0
        assert found.latency_ms == grid[7, i] + 3.0
