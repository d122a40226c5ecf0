"""Proteus: its program, the ladder of β, and its batching."""

from __future__ import annotations

from typing import Any

import pytest

from registry.model import Slo
from simulator.policies import proteus
from simulator.policies.options import CONTAINERS, options
from simulator.policies.pools import Lane
from simulator.policies.proteus import LADDER, Device, Proteus, Share, devices, due, ewma, holds_until, solve
from simulator.policies.tracking import LATE
from simulator.policy import Invoke, Reject

MODELS = {"slow": (0.9, {1: 200.0, 2: 400.0, 4: 1000.0}), "fast": (0.7, {1: 50.0, 2: 80.0, 4: 100.0})}


def known(build: Any) -> list[Device]:
    return devices(options(build(MODELS, "box"), "t", 95.0, CONTAINERS), Slo(latency_ms=500.0))


def shares(found: list[Share]) -> dict[str, tuple[int, float]]:
    return {share.device.option.placement.variant[2:]: (share.devices, round(share.rate, 6)) for share in found}


def test_a_device_s_peak_is_that_of_the_largest_batch_within_the_bound(build: Any) -> None:
    assert [(d.option.placement.variant, d.batch, d.peak) for d in known(build)] == [
        ("t/fast", 4, 40.0),
        ("t/slow", 2, 5.0),
    ]


@pytest.mark.parametrize(
    ("demand", "expected"),
    [
        (4.0, {"slow": (4, 4.2)}),
        # Two fast devices would do, but each slow one is right more often: 15 of 31.5 on three.
        (30.0, {"slow": (3, 15.0), "fast": (1, 16.5)}),
        (100.0, {"fast": (3, 100.0), "slow": (1, 5.0)}),
    ],
)
def test_the_most_accurate_assignment_that_carries_the_demand(
    build: Any, demand: float, expected: dict[str, tuple[int, float]]
) -> None:
    assert shares(solve({"t": known(build)}, {"t": demand}, {"box": 4})) == expected


def test_beta_falls_step_by_step_until_something_carries_it(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    program = proteus._program

    def watched(found: Any, demand: Any, sizes: Any, beta: float) -> Any:
        tried.append(beta)
        return program(found, demand, sizes, beta)

    monkeypatch.setattr(proteus, "_program", watched)

    found = solve({"t": known(build)}, {"t": 170.0}, {"box": 4})

    # 4 x 40 = 160 is 0.94 of 170.
    assert tried == [1.05, 1.0, 0.95, 0.9]
    # Two slow and two fast ones fall short of 153; so do one and three: 125.
    assert shares(found) == {"fast": (4, 153.0)}


def test_below_a_fifth_there_is_no_plan(build: Any) -> None:
    assert LADDER[0] == 1.05
    assert LADDER[-1] == 0.2
    assert solve({"t": known(build)}, {"t": 801.0}, {"box": 4}) == []


def test_demand_is_an_average_that_favours_the_last_window() -> None:
    assert ewma(10.0, 20.0) == pytest.approx((10 + 1.6 * 20) / 2.6)


@pytest.fixture
def lane(build: Any) -> Lane:
    found = options(build(MODELS, "box"), "t", 95.0, CONTAINERS)
    lane = Lane(next(o for o in found if o.placement.variant == "t/fast"), batch=4)
    lane.units = 1
    return lane


def test_a_full_batch_goes_at_once_and_another_when_its_head_must(lane: Lane, ask: Any) -> None:
    slo = Slo(latency_ms=500.0)
    lane.queue.extend(ask(0.0, slo) for _ in range(3))
    assert holds_until(lane) == pytest.approx(0.5 - 0.1), "with one more, a run takes 100 ms"
    assert due(lane, 0.39) == 0
    assert due(lane, 0.40) == 3

    lane.queue.append(ask(0.39, slo))

    assert due(lane, 0.39) == 4
    assert due(lane, 0.41) == 3, "four would make the head late"


def test_without_a_deadline_nothing_waits(lane: Lane, ask: Any) -> None:
    lane.queue.append(ask(0.0, Slo()))

    assert due(lane, 0.0) == 1


def test_it_waits_wakes_and_drops(build: Any, ask: Any) -> None:
    slo = Slo(latency_ms=500.0)
    catalogue = build({"fast": MODELS["fast"]}, "box", slo=slo)
    policy = Proteus(catalogue, copies=1)
    policy.tick(0.0)
    job, late = ask(1.0, slo), ask(0.6, slo)

    assert list(policy.arrive(job, 1.0)) == []
    assert policy.wake_at() == pytest.approx(1.5 - 0.08)
    (placement,) = catalogue.placements.values()
    assert list(policy.wake(policy.wake_at())) == [Invoke(placement, (job,))]
    assert list(policy.arrive(late, 1.08)) == [Reject(late, LATE)]
