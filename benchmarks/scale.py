"""How the scheduler grows: tasks from 10 to 10,000 and requests from 10 to 100,000 a second, in simulation.

Each case is a process of its own: our policy over Poisson arrivals whose tasks are Zipf distributed, on two sizes of
provisioned functions that have room for the load. `decision_us` is `choose` alone, and `update_us` what events cost the
fleet for each request; `controller_ms` is one period of forecasts and planning for all tasks (the minute is closed, and
the plan made), of which a half of the tasks were asked for. `memory_mb` is what the process holds beyond its imports.
Decision time is called flat where a thousand times as many tasks do not double it. `controller_exponent` is the slope
of log time over log tasks from one row to the next; n · log n would be 1.1 to 1.3 at these sizes.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Row, run
from registry.catalogue import Catalogue
from registry.model import (
    LEVELS,
    Accuracy,
    Estimate,
    Placement,
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
from registry.prices import lambda_price, vcpus_of
from scheduler.capacity import Demand, plan
from scheduler.choose import choose
from scheduler.fleet import Fleet
from scheduler.recurrence import Recurrence
from scheduler.requests import Request
from simulator.arrivals import poisson
from simulator.hardware import Hardware
from simulator.policies.modelless import Modelless
from simulator.simulation import Stream, simulate

TASKS = (10, 100, 1_000, 10_000)
RATES = (10.0, 1_000.0, 10_000.0, 100_000.0)
USUAL_TASKS, USUAL_RATE = 100, 100.0

VARIANTS = {"small": (0.8, 2.0), "medium": (0.9, 5.0), "large": (0.95, 20.0)}
"""Accuracy, and milliseconds on one vCPU."""

SIZES_MB = (1769, 3538)
SLO = Slo(latency_ms=50.0)
PERIODS = 5
ROOM = 2.0
"""Environments for each that the load keeps busy on average."""

LOADING = 50
"""Environments more where there are many tasks, each of which has to be loaded once."""

ROOT = Path(__file__).resolve().parents[1]


def rows(quick: bool) -> Sequence[Row]:
    """One row for each number of tasks at one rate, and for each rate at one number of tasks."""
    tasks, rates = (TASKS[:3], RATES[:3]) if quick else (TASKS, RATES)
    requests = 2_000 if quick else 20_000
    cases = [*((count, USUAL_RATE) for count in tasks), *((USUAL_TASKS, rate) for rate in rates)]
    measured = []
    for count, rate in cases:
        measured.append(_apart(count, rate, requests))
        print(f"{count} tasks at {rate:g} requests/s done", file=sys.stderr)
    return [{**row, "controller_exponent": _exponent(measured, i)} for i, row in enumerate(measured)]


def _apart(tasks: int, rate: float, requests: int) -> dict[str, Any]:
    """One case in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scale", "--case", str(tasks), str(rate), str(requests)]
    # One thread: a controller in a function has one vCPU or less.
    single = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, cwd=ROOT, env=single, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def case(tasks: int, rate: float, requests: int) -> dict[str, Any]:
    """What one case takes."""
    before = _resident_mb()
    tiers, hardware = _tiers(tasks, rate)
    facts = catalogue(tasks, tiers)
    seconds = requests / rate
    streams = _streams(tasks, rate, seconds)
    policy = _Timed(Modelless(facts))
    began = time.process_time()
    outcome = simulate(facts, streams, policy, seconds=seconds, seed=1, hardware=hardware)
    took = time.process_time() - began
    assert outcome.summary()["rejected_share"] < 0.01, "the fleet was too small for the load"
    fleet, now = policy.policy.fleet, seconds
    asked = [Request(stream.task, SLO) for stream in streams[: min(tasks, 500)]]
    for request in asked:  # the first decision of a task compiles its table
        choose(request, facts, fleet, now)
    decisions = [_timed(partial(_decide, request, facts, fleet, now)) for _ in range(4) for request in asked]
    count = len(outcome.arrived)
    return {
        "tasks": tasks,
        "rate": rate,
        "decision_us": float(np.median(decisions)) * 1e6,
        "decision_p99_us": float(np.quantile(decisions, 0.99)) * 1e6,
        "update_us": policy.updating_s / count * 1e6,
        "simulated_us": took / count * 1e6,
        "controller_ms": _controller_s(facts, fleet, now) * 1e3,
        "memory_mb": _resident_mb() - before,
        "environments": sum(len(state.environments) for state in fleet.tiers),
        "attainment": outcome.summary()["attainment"],
        "requests": count,
    }


def _decide(request: Request, facts: Catalogue, fleet: Fleet, now: float) -> Estimate:
    return choose(request, facts, fleet, now).ranked[0]


class _Timed:
    """Our policy, with the time that settling the fleet's events takes beside it."""

    def __init__(self, policy: Modelless) -> None:
        self.policy = policy
        self.updating_s = 0.0
        self.name, self.period_s = policy.name, policy.period_s
        self.happened, self.wake_at, self.wake = policy.happened, policy.wake_at, policy.wake
        self.tick, self.ended = policy.tick, policy.ended

    def arrive(self, job: Any, now: float) -> Iterable[Any]:
        began = time.process_time()
        _ = self.policy.fleet
        self.updating_s += time.process_time() - began
        return self.policy.arrive(job, now)


def _controller_s(facts: Catalogue, fleet: Fleet, now: float) -> float:
    """Median CPU seconds of a period: close the minute, expect the next, plan."""
    recurrence, random = Recurrence(), np.random.default_rng(1)
    names = sorted(facts.tasks)
    requests = {name: Request(name, SLO) for name in names}
    recurrence.close(0, names)
    taken = []
    for minute in range(1, PERIODS + 1):
        active = [name for name, drawn in zip(names, random.random(len(names)), strict=True) if drawn < 0.5]

        def period(minute: int = minute, active: Sequence[str] = active) -> None:
            recurrence.close(minute, active)
            demands = [Demand(name, p, 0.1, requests[name]) for name, p in recurrence.all_ahead().items()]
            plan(facts, fleet, demands, now, period_s=60.0)

        taken.append(_timed(period))
    return float(np.median(taken[1:]))


def _timed(call: Callable[[], Any]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def _exponent(measured: Sequence[Row], i: int) -> float | None:
    """How the controller's time grew from the row before, as a power of the number of tasks."""
    if i == 0 or measured[i]["rate"] != measured[i - 1]["rate"]:
        return None
    grown = math.log(measured[i]["controller_ms"] / measured[i - 1]["controller_ms"])
    return grown / math.log(measured[i]["tasks"] / measured[i - 1]["tasks"])


def catalogue(tasks: int, tiers: Sequence[Tier], variants: Mapping[str, tuple[float, float]] = VARIANTS) -> Catalogue:
    """So many tasks, each with these variants on every tier."""
    signature = (TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1,)),)
    spread = np.linspace(0.8, 1.3, len(LEVELS))
    made: dict[str, list[Any]] = {"tasks": [], "variants": [], "placements": [], "profiles": []}
    for number in range(tasks):
        task = Task(f"t{number:05d}", *signature, "accuracy")
        made["tasks"].append(task)
        for kind, (accuracy, ms) in variants.items():
            share = Accuracy(accuracy, accuracy - 0.01, accuracy + 0.01, 1000, "wilson")
            variant = Variant(task.name, kind, f"blake3:{number:060x}{kind[0]}", Recipe("synthetic"), share)
            made["variants"].append(variant)
            for tier in tiers:
                placement = Placement(variant.id, tier.name)
                latency = Quantiles(tuple((spread * ms / tier.vcpus).tolist()), ms / tier.vcpus)
                service = (ServiceTime(1, latency, latency.mean),)
                slow = Quantiles(tuple((spread * 5 * ms).tolist()), 5 * ms)
                made["placements"].append(placement)
                made["profiles"].append(
                    Profile(placement.id, service, slow, slow, 5.0, "synthetic", "none", 100, "2025-01-01T00:00:00Z")
                )
    return (
        Catalogue.empty()
        .with_tasks(*made["tasks"])
        .with_tiers(*tiers)
        .with_variants(*made["variants"])
        .with_placements(*made["placements"])
        .with_profiles(*made["profiles"])
    )


def _tiers(tasks: int, rate: float) -> tuple[tuple[Tier, ...], Hardware]:
    """Provisioned functions of two sizes, with room on each for the load, and for what is loaded for the first time."""
    copies = min(tasks, LOADING) + math.ceil(ROOM * rate * VARIANTS["large"][1] / 1000)
    tiers = tuple(
        Tier(
            name=f"lambda-{memory_mb}",
            kind=TierKind.LAMBDA,
            vcpus=vcpus_of(memory_mb),
            memory_mb=memory_mb,
            concurrency=copies,
            start_mode=StartMode.PROVISIONED,
            price=lambda_price(memory_mb, start_mode=StartMode.PROVISIONED),
        )
        for memory_mb in SIZES_MB
    )
    return tiers, Hardware(provisioned={tier.name: copies for tier in tiers})


def _streams(tasks: int, rate: float, seconds: float) -> list[Stream]:
    """Arrivals of every task, in proportion to 1 / rank."""
    weights = 1.0 / np.arange(1, tasks + 1)
    weights /= weights.sum()
    return [
        Stream(f"t{i:05d}", SLO, poisson(rate * weight, seconds, seed=i)) for i, weight in enumerate(weights.tolist())
    ]


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main(argv: Sequence[str]) -> int:
    """A whole run, or one case of it as JSON."""
    if argv and argv[0] == "--case":
        tasks, rate, requests = argv[1:]
        print(json.dumps(case(int(tasks), float(rate), int(requests))))
        return 0
    return run("scale", rows, argv, details=("environments", "requests", "attainment"))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
