"""How many requests a minute the simulator gets through on one core; it simulates, and runs no model.

Rows are policies over small catalogues: one task, and twenty, of four variants on two Lambda tiers, 100 requests a
second in all. `static` asks always for the same placement, and so shows what the simulator itself takes;
`modelless` decides every request on a fleet that every event has changed, as the gateway does. `per_minute` is of
processor time, which is that of a core of its own.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from benchmarks.harness import Row, interleaved, interval, run
from registry.catalogue import Catalogue
from registry.model import (
    Accuracy,
    Placement,
    Profile,
    Recipe,
    ServiceTime,
    Slo,
    Task,
    TensorSpec,
    Variant,
)
from registry.prices import SMALL_SIZES, lambda_tiers
from scheduler.events import Event
from simulator.arrivals import poisson
from simulator.described import lognormal
from simulator.policies import POLICIES, Factory
from simulator.policy import Action, Ended, Invoke, Job, Reject
from simulator.simulation import Stream, simulate

TASKS = (1, 20)
RATE = 100.0
"""Requests a second, of all tasks."""
REPEATS = 5
REQUESTS = 20_000
QUICK = 4_000
BATCHES = (1, 4, 16)
BOUND_MS = 60.0


class Static:
    """Always the same placement of a task, whatever happens."""

    name = "static"
    period_s = math.inf

    def __init__(self, catalogue: Catalogue) -> None:
        self._placement = {p.task: p for _, p in sorted(catalogue.placements.items(), reverse=True)}

    def arrive(self, job: Job, now: float) -> Iterable[Action]:
        """See Policy."""
        return (Invoke(self._placement[job.request.task], (job,)),)

    def ended(self, end: Ended, now: float) -> Iterable[Action]:
        """See Policy."""
        return () if end.ok else [Reject(job, end.reason) for job in end.invoke.jobs]

    def tick(self, now: float) -> Iterable[Action]:
        """See Policy."""
        return ()

    def wake(self, now: float) -> Iterable[Action]:
        """See Policy."""
        return ()

    def wake_at(self) -> float:
        """See Policy."""
        return math.inf

    def happened(self, event: Event) -> None:
        """See Policy."""


COMPARED: Mapping[str, Factory] = {"static": Static, "modelless": POLICIES["modelless"]}


def catalogue(tasks: int) -> Catalogue:
    """So many tasks of four variants, each slower and more accurate than the one before, on two sizes of Lambda's."""
    tiers = lambda_tiers(SMALL_SIZES)[:2]
    made = Catalogue.empty().with_tiers(*tiers)
    for number in range(tasks):
        name = f"task-{number}"
        made = made.with_tasks(
            Task(name, (TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1,)),), "accuracy")
        )
        for rank in range(4):
            value = 0.80 + 0.05 * rank
            variant = Variant(
                name, f"v{rank}", f"blake3:{10 * number + rank:064x}", Recipe("synthetic"), _accuracy(value)
            )
            placements = [Placement(variant.id, tier.name) for tier in tiers]
            profiles = [_profile(p, 5.0 * 2**rank / tier.vcpus**0.7) for p, tier in zip(placements, tiers, strict=True)]
            made = made.with_variants(variant).with_placements(*placements).with_profiles(*profiles)
    return made


def rows(quick: bool) -> Sequence[Row]:
    """A row for each policy and number of tasks."""
    found: list[Row] = []
    for tasks in TASKS:
        facts, requests = catalogue(tasks), QUICK if quick else REQUESTS
        times = [poisson(RATE / tasks, requests / RATE, seed=i) for i in range(tasks)]
        streams = [Stream(f"task-{i}", Slo(latency_ms=BOUND_MS), t) for i, t in enumerate(times)]
        count = sum(map(len, times))
        cases = {name: partial(_us_each, facts, streams, make) for name, make in COMPARED.items()}
        for name, samples in interleaved(cases, REPEATS).items():
            middle, low, high = interval(samples)
            found.append(
                {
                    "policy": name,
                    "tasks": tasks,
                    "requests": count,
                    "per_minute": 60e6 / middle,
                    "us_per_request": middle,
                    "us_low": low,
                    "us_high": high,
                }
            )
    return found


def _us_each(facts: Catalogue, streams: Sequence[Stream], make: Factory) -> float:
    policy = make(facts)
    started = time.process_time()
    outcome = simulate(facts, streams, policy, seconds=math.inf, seed=1)
    return (time.process_time() - started) * 1e6 / len(outcome.arrived)


def _accuracy(value: float) -> Accuracy:
    return Accuracy(value, value, value, 1000, "wilson")


SPREAD = 0.1
"""Of the lognormal times."""


def _profile(placement: Placement, run_ms: float) -> Profile:
    service = [ServiceTime(n, q := lognormal(run_ms * n**0.7, SPREAD), q.mean) for n in BATCHES]
    init, load = lognormal(200.0, SPREAD), lognormal(50.0, SPREAD)
    return Profile(placement.id, tuple(service), load, init, 30.0, "synthetic", "none", 500, "2025-01-01T00:00:00Z")


if __name__ == "__main__":
    sys.exit(run("simulate", rows, details=("us_low", "us_high")))
