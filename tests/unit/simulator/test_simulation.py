"""Whole simulations: what becomes of requests, what it costs, and that it is the same every time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from registry.errors import NotFound
from registry.model import Slo
from scheduler.actions import Provision, Shrink, Unload, Warm
from scheduler.events import EnvironmentBusy
from simulator.arrivals import poisson
from simulator.hardware import Hardware, uniform
from simulator.policies import POLICIES
from simulator.policy import Cancel, Reject
from simulator.simulation import TOLD, Stream, merged, simulate


@pytest.fixture
def catalogue(make_catalogue, make_tier):
    return make_catalogue(make_tier("a"), varying=True, tasks=2)


def arrays(outcome):
    names = (
        "arrived",
        "stream",
        "latency_ms",
        "accuracy",
        "variant",
        "cold",
        "loaded",
        "substitute",
        "rejected",
        "usd",
    )
    return [getattr(outcome, name).tobytes() for name in names]


def test_same_seed_same_bytes_and_another_seed_differs(catalogue) -> None:
    streams = [Stream(t, Slo(latency_ms=90.0), poisson(3.0, 60.0, seed=i)) for i, t in enumerate(("t", "t1"))]
    hardware = Hardware(lifetimes={"a": uniform(0.1, 2.0)})
    one, two, other = (
        simulate(catalogue, streams, POLICIES["modelless"](catalogue), seconds=60.0, seed=seed, hardware=hardware)
        for seed in (1, 1, 2)
    )
    assert arrays(one) == arrays(two)
    assert one.dollars == two.dollars
    assert arrays(one) != arrays(other)


def test_arrivals_are_those_before_the_end_in_order(catalogue, fixed) -> None:
    streams = [Stream("t", Slo(), np.array([0.5, 2.0, 9.9, 10.0])), Stream("t1", Slo(), np.array([0.5, 1.0]))]
    outcome = simulate(catalogue, streams, fixed(catalogue.placements["t/v0@a:1"]), seconds=10.0, seed=0)
    assert outcome.arrived.tolist() == [0.5, 0.5, 1.0, 2.0, 9.9]
    assert outcome.stream.tolist() == [0, 1, 1, 0, 0]
    for times in ([2.0, 1.0], [-1.0, 1.0]):
        with pytest.raises(ValueError, match="stream 1"):
            merged([np.array([1.0]), np.array(times)], 10.0)
    with pytest.raises(NotFound):
        simulate(catalogue, [Stream("unknown", Slo(), np.array([1.0]))], fixed(None), seconds=1.0, seed=0)


def test_latency_is_from_arrival_to_answer_and_the_network(make_catalogue, make_tier, fixed) -> None:
    facts = make_catalogue(make_tier("a"))
    stream = Stream("t", Slo(latency_ms=100.0, min_accuracy=0.85), np.array([1.0, 2.0]))
    hardware = Hardware(overhead_ms=3.0)
    policy = fixed(facts.placements["t/v0@a:1"])
    outcome = simulate(facts, [stream], policy, seconds=3.0, seed=0, hardware=hardware)
    assert outcome.latency_ms.tolist() == pytest.approx([263.0, 13.0])
    assert outcome.accuracy.tolist() == [0.8, 0.8]
    assert (outcome.cold.tolist(), outcome.loaded.tolist()) == ([True, False], [True, False])
    assert outcome.usd.tolist() == pytest.approx([0.27, 0.02])
    assert outcome.usd.sum() == pytest.approx(outcome.dollars.total)
    assert sum(isinstance(event, EnvironmentBusy) for event in policy.events) == 2


def test_every_action_is_carried_out_and_wakes_come_when_asked_for(make_catalogue, make_tier, fixed) -> None:
    facts = make_catalogue(make_tier("a"))
    placement = facts.placements["t/v0@a:1"]

    class Busy(fixed):
        period_s = 10.0
        seen = []  # noqa: RUF012 - there is one of it

        def arrive(self, job, now):
            return (Reject(job, "no"),) if job.number == 1 else super().arrive(job, now)

        def tick(self, now):
            self.seen.append(f"tick {now:g}")
            done = {0.0: Warm(placement, "", 2), 10.0: Unload(placement, ""), 20.0: Provision("a", 1, "")}
            return [done.get(now, Shrink("a", 0, ""))]

        def wake_at(self):
            return 3.5 if "wake 3.5" not in self.seen else math.inf

        def wake(self, now):
            self.seen.append(f"wake {now:g}")
            return ()

        def ended(self, end, now):
            assert end.invoke.jobs[0].number != 2
            return ()

    policy = Busy(placement)
    kept = policy.arrive
    cancelled = []

    def arrive(job, now):
        made = tuple(kept(job, now))
        cancelled.extend(made if job.number == 2 else ())
        return (*made, Cancel(made[0])) if job.number == 2 else made

    policy.arrive = arrive
    outcome = simulate(facts, [Stream("t", Slo(), np.array([1.0, 2.0, 3.0]))], policy, seconds=35.0, seed=0)
    assert policy.seen == ["tick 0", "wake 3.5", "tick 10", "tick 20", "tick 30"]
    assert outcome.rejected.tolist() == [False, True, False]
    assert np.isfinite(outcome.latency_ms).tolist() == [True, False, False]
    assert outcome.cold.tolist() == [False] * 3  # it was warm
    assert outcome.dollars.idle > 0
    assert len(cancelled) == 1


def test_progress_is_told(catalogue, fixed) -> None:
    told: list[float] = []
    stream = Stream("t", Slo(), np.linspace(0.0, 9.0, 3 * TOLD))
    simulate(catalogue, [stream], fixed(catalogue.placements["t/v0@a:1"]), seconds=10.0, seed=0, progress=told.append)
    assert told == pytest.approx([0.0, 1 / 3, 2 / 3])


def test_nothing_asked_costs_nothing(catalogue, fixed) -> None:
    outcome = simulate(catalogue, [], fixed(None), seconds=100.0, seed=0)
    assert (outcome.dollars.total, outcome.summary()["attainment"], outcome.idle_hours) == (0.0, 0.0, 0.0)
