"""Ours against the published policies on three real traces, simulated: what they answer in time, how well, for what.

`python -m benchmarks.policies [--quick] [--json FILE] [--traces FOLDER]`. The traces are those of `../shared/traces`
beside the repository, or of any folder laid out alike; see `simulator.traces` for their formats.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks import vision
from benchmarks.harness import Row, interval, run
from registry.catalogue import Catalogue
from simulator import traces
from simulator.arrivals import Floats, of_counts, of_stamps, scaled, window
from simulator.hardware import Hardware
from simulator.oracle import bound
from simulator.outcome import Outcome
from simulator.playing import carried
from simulator.policies import POLICIES
from simulator.policies.capacity import Budget, Prewarming
from simulator.policies.cocktail import Cocktail
from simulator.policies.infadapter import InfAdapter
from simulator.policies.jellyfish import Jellyfish
from simulator.policies.model_switching import ModelSwitching
from simulator.policies.modelless import Modelless
from simulator.policies.options import CONTAINERS
from simulator.policies.proteus import Proteus
from simulator.policies.slackfit import SlackFit
from simulator.policy import Policy
from simulator.simulation import Stream
from simulator.utility import share_of, utility

FOLDER = Path(__file__).parents[1] / ".." / "shared" / "traces"
SEEDS = 5
QUICK_SEEDS = 2
QUICK_S = 300.0
"""Of the bursty and the diurnal trace, in `--quick`."""

MINUTE_S = 60.0
OVERHEAD_MS = 1.2
"""What the platform adds to an answer (benchmarks.overhead, process-1769: added_p50_ms)."""

SPEED = 24.0
"""A day of the diurnal trace is played in an hour."""

THINNED = 4
"""Of its requests one in so many is kept: about four a second."""

APPLICATIONS = 10
"""Of the sporadic half, a task each."""

USED = 0.5
"""A fixed fleet has as many copies as the most accurate variant needs for the mean load at this use."""

GROWN = 4
"""A fleet that scales itself may have so many times as many."""

UNPLANNED = "modelless unplanned"
"""Ours without its planner: environments come with requests, and go."""

EVERY = (*POLICIES, UNPLANNED, "oracle")

FIXED: Mapping[str, Callable[[Catalogue, int], Policy]] = {
    "slackfit": SlackFit,
    "model_switching": ModelSwitching,
    "jellyfish": Jellyfish,
}
SCALING: Mapping[str, Callable[[Catalogue, int], Policy]] = {"infadapter": InfAdapter, "cocktail": Cocktail}

FIELDS = ("attainment", "effective_accuracy", "usd_per_1k", "cold_share", "utility_vs_oracle", "decision_us")
"""Each with its median and the ends of its interval, by trace and policy."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Requests by task over so many seconds."""

    catalogue: Catalogue
    streams: tuple[Stream, ...]
    seconds: float

    @property
    def fleet(self) -> int:
        """Copies of a fixed fleet, by its operator's rule."""
        container = next(tier for tier in self.catalogue.tiers.values() if tier.kind in CONTAINERS)
        slowest_ms = max(
            self.catalogue.profiles[p.id].service[0].latency.mean
            for p in self.catalogue.placements.values()
            if p.tier == container.name
        )
        load = sum(len(stream.times) for stream in self.streams) / self.seconds * slowest_ms / 1000
        return max(1, int(np.ceil(load / USED / container.concurrency)))


def bursty(folder: Path, quick: bool, seed: int) -> Scenario:
    """Requests to a model that completes code; each seed begins at another moment, and goes round."""
    stamps = _code(folder / "azure_llm_2023" / "AzureLLMInferenceTrace_code.csv")
    whole = float(stamps[-1]) + 1.0
    start = float(np.random.default_rng(seed).uniform(0.0, whole))
    return _single(np.sort((stamps - start) % whole), QUICK_S if quick else whole)


def diurnal(folder: Path, quick: bool, seed: int) -> Scenario:
    """A day of a web server, played in an hour; each seed has another day, or in `quick` another part of one."""
    counts = _hits(folder / "nasa_http_1995" / "workload.tbz2")
    seconds = QUICK_S if quick else 86_400.0 / SPEED
    random = np.random.default_rng(seed)
    days = len(counts) // 86_400
    first = int(random.integers(days)) * 86_400 + (int(random.integers(int(86_400 - seconds * SPEED))) if quick else 0)
    chosen = counts[first : first + int(seconds * SPEED)]
    times = scaled(of_counts(chosen, seed=seed), SPEED)
    return _single(times[random.random(len(times)) < 1 / THINNED], seconds)


def sporadic(folder: Path, quick: bool, seed: int) -> Scenario:
    """Applications of the sporadic half, a task each; each seed has others."""
    found = _containers(folder / "azure2019_femux" / "containers_per_min_100apps.csv.gz")
    active = (found > 0).sum(axis=1)
    half = found[(active > 0) & (active <= np.median(active))]
    minutes = 60 if quick else 360
    random = np.random.default_rng(seed)
    chosen = half[random.choice(len(half), APPLICATIONS, replace=False)]
    # Half of them are active for minutes a day: each is observed from an hour in which something happens.
    starts = [max(0, min(int(random.choice(np.flatnonzero(row))) - minutes // 2, len(row) - minutes)) for row in chosen]
    times = [
        of_counts(row[start : start + minutes], seed=seed * APPLICATIONS + i, width_s=MINUTE_S)
        for i, (row, start) in enumerate(zip(chosen, starts, strict=True))
    ]
    return _scenario({f"app-{i}": each for i, each in enumerate(times)}, minutes * MINUTE_S)


TRACES: Mapping[str, Callable[[Path, bool, int], Scenario]] = {
    "bursty": bursty,
    "diurnal": diurnal,
    "sporadic": sporadic,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Compare all policies on all traces; say what is missing where the traces are not found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.policies", add_help=False)
    parser.add_argument("--traces", type=Path, default=FOLDER, metavar="FOLDER")
    options, rest = parser.parse_known_args(argv)

    def rows(quick: bool) -> Sequence[Row]:
        return [row for trace in TRACES for row in compare(trace, options.traces, quick)]

    try:
        return run("policies", rows, rest, details=DETAILS)
    except FileNotFoundError as fault:
        parser.error(f"there is no {fault.filename}: name the folder of the traces with --traces")


def compare(
    trace: str, folder: Path, quick: bool, names: Sequence[str] = (*POLICIES, UNPLANNED, "oracle")
) -> list[Row]:
    """A row for each policy: medians over the seeds, and 95 % bootstrap intervals of the medians."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for seed in range(QUICK_SEEDS if quick else SEEDS):
        scenario = TRACES[trace](folder, quick, seed)
        for name in names:
            found[name].append(measured(name, scenario, seed))
    return [_row(trace, name, of_seeds) for name, of_seeds in found.items()]


def measured(name: str, scenario: Scenario, seed: int) -> dict[str, float]:
    """The figures of one policy in one simulation; the oracle's are a bound that nothing simulates."""
    best = bound(scenario.catalogue, scenario.streams, seconds=scenario.seconds, overhead_ms=OVERHEAD_MS)
    if name == "oracle":
        usd = best.usd / best.requests * 1000
        accuracy, attained = best.right / best.requests, best.timely / best.requests
        return dict(zip(FIELDS, (attained, accuracy, usd, 0.0, 1.0, 0.0), strict=True))
    policy = policy_of(name, scenario)
    outcome, decision_us = carried(
        policy,
        scenario.catalogue,
        scenario.streams,
        seconds=scenario.seconds,
        seed=seed,
        hardware=HARDWARE,
        clock=perf_counter,
    )
    return _figures(outcome, best.utility, decision_us)


def policy_of(name: str, scenario: Scenario) -> Policy:
    """A new policy with the fleet that the scenario's operator gives it."""
    if name == "modelless":
        return Prewarming(scenario.catalogue, Budget(math.inf))
    if name == UNPLANNED:
        return Modelless(scenario.catalogue)
    if name in FIXED:
        return FIXED[name](scenario.catalogue, scenario.fleet)
    if name in SCALING:
        return SCALING[name](scenario.catalogue, GROWN * scenario.fleet)
    if name == "proteus":  # a device hosts one variant, so that it needs one for each task
        slots = next(tier for tier in scenario.catalogue.tiers.values() if tier.kind in CONTAINERS).concurrency
        return Proteus(scenario.catalogue, max(scenario.fleet, -(-len(scenario.catalogue.tasks) // slots)))
    return POLICIES[name](scenario.catalogue)


HARDWARE = Hardware(
    overhead_ms=OVERHEAD_MS, provisioned={tier.name: 0 for tier in vision.tiers() if tier.kind in CONTAINERS}
)
"""No copy is up but what a policy begins with."""

DETAILS = tuple(f"{field}_{end}" for field in FIELDS for end in ("low", "high"))


def _figures(outcome: Outcome, best_usd: float, decision_us: float) -> dict[str, float]:
    summary, requests = outcome.summary(), len(outcome.arrived)
    right = summary["effective_accuracy"] * requests
    return {
        **{field: summary[field] for field in FIELDS[:4]},
        "utility_vs_oracle": share_of(utility(right, outcome.dollars.total), best_usd),
        "decision_us": decision_us,
    }


def _row(trace: str, name: str, of_seeds: Sequence[Mapping[str, float]]) -> Row:
    row: dict[str, str | float] = {"trace": trace, "policy": name}
    ends: dict[str, float] = {}
    for field in FIELDS:
        row[field], low, high = interval([figures[field] for figures in of_seeds])
        ends |= {f"{field}_low": low, f"{field}_high": high}
    return row | ends


def _single(times: Floats, seconds: float) -> Scenario:
    return _scenario({"images": window(times, 0.0, seconds)}, seconds)


def _scenario(times: Mapping[str, Floats], seconds: float) -> Scenario:
    catalogue = vision.catalogue(tuple(times))
    streams = tuple(Stream(task, catalogue.task(task).default_slo, each) for task, each in times.items())
    return Scenario(catalogue, streams, seconds)


@cache
def _code(path: Path) -> Floats:
    return of_stamps(traces.azure_llm(path).stamps_s)


@cache
def _hits(path: Path) -> traces.Ints:
    return traces.per_second(path)


@cache
def _containers(path: Path) -> traces.Ints:
    return traces.azure_2019(path).counts


if __name__ == "__main__":
    sys.exit(main())
