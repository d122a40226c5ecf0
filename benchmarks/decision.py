"""How long a decision takes, and whether it is the one that the rules demand; never runs a model.

`p50_us` and `p99_us` are of `choose` alone, each time for another request, on a fleet that one event has just changed,
with the garbage collector on and start-up's objects frozen out of it, as `gateway.server` does. `first_p99_us` adds
reading the chosen estimate, `apply_p50_us` is of the event alone. `live_` figures are of a fleet whose every placement
has answered, so that beliefs about its pace and its tier's percentiles enter each decision, and `outcome_p50_us` of
taking in one answer more. Before anything is timed, rankings are compared with
`benchmarks.reference` on random fleets.
"""

from __future__ import annotations

import gc
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np

from benchmarks import reference, synthetic
from benchmarks.harness import interleaved, interval, run
from registry.catalogue import Catalogue
from registry.model import Estimate
from scheduler.choose import choose
from scheduler.fleet import Fleet
from scheduler.table import table_of

PLACEMENTS = (400, 4000)
REPEATS = 5
OUTCOMES = 3000
"""Answers of a fleet that is believed something of; there are up to ten for each placement."""
LARGEST = 81
"""Batch sizes to prepare: one more than a request may have."""


class Trial:
    """Decisions over one catalogue, on a fleet whose history goes on from repeat to repeat."""

    def __init__(self, placements: int, decisions: int, outcomes: int = 0) -> None:
        """`outcomes` answers came before the first decision."""
        self.catalogue = synthetic.catalogue(placements)
        self.decisions = decisions
        self.random = Random(placements)
        started = time.perf_counter()
        table = table_of(self.catalogue, synthetic.TASK)
        self.compile_ms = (time.perf_counter() - started) * 1e3
        started = time.perf_counter()
        for rows in range(1, LARGEST):
            table.batch(rows)
        self.batch_ms = (time.perf_counter() - started) * 1e3 / (LARGEST - 1)
        self.serial = 200
        self.fleet, self.now = synthetic.after(Fleet.empty(self.catalogue), self.serial, self.random)
        self.learns = bool(outcomes)
        self.outcome_us = self._live(outcomes)
        self.median_us: list[float] = []
        self.apply_us: list[float] = []
        self.first_p99_us: list[float] = []

    def _live(self, outcomes: int) -> float:
        """Let the fleet learn from answers; return the median microseconds of the last ones."""
        took = []
        for _ in range(outcomes):
            self.now += self.random.expovariate(100.0)
            event = synthetic.outcome(self.fleet, self.random, self.now)
            started = time.perf_counter_ns()
            self.fleet = self.fleet.apply(event)
            took.append((time.perf_counter_ns() - started) / 1e3)
        return float(np.median(took[-500:])) if took else 0.0

    def repeat(self) -> float:
        """Time `decisions` decisions; return their 99th percentile in microseconds, and note the medians."""
        took, applied, with_first = [], [], []
        for _ in range(self.decisions):
            self.serial += 1
            self.now += self.random.expovariate(10.0)
            event = synthetic.event(self.fleet, self.random, self.now, self.serial)
            request = synthetic.request(self.random)
            if self.learns:
                self._live(1)
            t0 = time.perf_counter_ns()
            self.fleet = self.fleet.apply(event)
            t1 = time.perf_counter_ns()
            decision = choose(request, self.catalogue, self.fleet, self.now)
            t2 = time.perf_counter_ns()
            if decision.ranked:
                _ = decision.ranked[0]
            t3 = time.perf_counter_ns()
            applied.append((t1 - t0) / 1e3)
            took.append((t2 - t1) / 1e3)
            with_first.append((t3 - t1) / 1e3)
        self.median_us.append(float(np.median(took)))
        self.apply_us.append(float(np.median(applied)))
        self.first_p99_us.append(float(np.percentile(with_first, 99)))
        return float(np.percentile(took, 99))


def rows(quick: bool) -> Sequence[dict[str, Any]]:
    """One row for each number of placements."""
    checked = check(60 if quick else 300)
    decisions = 1000 if quick else 5000
    trials = {(n, outcomes): Trial(n, decisions, outcomes) for n in PLACEMENTS for outcomes in (0, OUTCOMES)}
    gc.collect()
    gc.freeze()
    p99 = interleaved({f"{n} {outcomes}": trial.repeat for (n, outcomes), trial in trials.items()}, REPEATS)
    return [
        {
            **_row(n, trials[n, 0], p99[f"{n} 0"], checked),
            "live_p50_us": interval(trials[n, OUTCOMES].median_us)[0],
            "live_p99_us": interval(p99[f"{n} {OUTCOMES}"])[0],
            "outcome_p50_us": trials[n, OUTCOMES].outcome_us,
        }
        for n in PLACEMENTS
    ]


def check(fleets: int) -> int:
    """Compare whole rankings with the reference on so many random fleets; return how many decisions were compared."""
    random, compared = Random(7), 0
    for seed in range(fleets):
        catalogue = _with_gaps(synthetic.catalogue(24, seed), random)
        fleet, now = synthetic.after(Fleet.empty(catalogue), random.randint(0, 120), random)
        fleet, now = synthetic.lived(fleet, random.choice((0, 1, 40, 300)), random, now)
        now += random.choice((0.0, 1.0, 100.0))
        for _ in range(3):
            request = synthetic.request(random)
            decision = choose(request, catalogue, fleet, now)
            expected = reference.rank(request, catalogue, fleet, now)
            assert len(decision.ranked) == len(expected), (request, len(decision.ranked), len(expected))
            assert decision.feasible == bool(expected and expected[0].excess == 0.0), request
            for ours, theirs in zip(decision.ranked, expected, strict=True):
                assert _agree(ours, theirs), (request, ours, theirs)
            compared += 1
    return compared


def _with_gaps(catalogue: Catalogue, random: Random) -> Catalogue:
    """With a few profiles of a single batch size; single sizes follow a rule of their own."""
    cut = random.sample(sorted(catalogue.profiles), 4)
    return catalogue.with_profiles(
        *(replace(catalogue.profiles[p], service=catalogue.profiles[p].service[:1]) for p in cut)
    )


def _agree(ours: Estimate, theirs: reference.Expected) -> bool:
    """Whether both put the same placement here and expect the same of it, up to the order of float sums."""
    figures = ((ours.latency_ms, theirs.latency_ms), (ours.cost_usd, theirs.cost_usd))
    return (
        ours.placement.id == theirs.id
        and (ours.cold, ours.load) == (theirs.cold, theirs.load)
        and all(math.isclose(a, b, rel_tol=1e-9) for a, b in figures)
    )


def _row(placements: int, trial: Trial, p99_us: Sequence[float], checked: int) -> dict[str, Any]:
    p99, p99_low, p99_high = interval(p99_us)
    return {
        "placements": placements,
        "p50_us": interval(trial.median_us)[0],
        "p99_us": p99,
        "p99_low_us": p99_low,
        "p99_high_us": p99_high,
        "first_p99_us": interval(trial.first_p99_us)[0],
        "apply_p50_us": interval(trial.apply_us)[0],
        "compile_ms": trial.compile_ms,
        "batch_ms": trial.batch_ms,
        "decisions": len(trial.median_us) * trial.decisions,
        "checked": checked,
    }


if __name__ == "__main__":
    sys.exit(run("decision", rows))
