"""Load-aware switching: effective accuracy over Markov-modulated load, in virtual time and for real on this machine.

Six variants with measured accuracy (`benchmarks.ladder`), requests of a few rows, load at 0.3, 0.8, 1.5 and 3 times
what the largest can sustain, mean stay 20 s and 3 s, five deadlines from 1.0 to 2.2 times the largest one's low-load
p99. Ours against every static variant (each at the setting that is best for it in hindsight), Model-Switching as
published (one-second table, replicas × threads, no batching) and with batching, INFaaS's selection, and an oracle that
knows the next second.

Virtual time draws service times from what was measured here, and takes all cores for as many cases at once.

`--virtual SECONDS` and `--real SECONDS` set how long the runs in virtual time and on this machine are; 0: none.
`ours_ahead` is the median of the differences in PARTS equal parts of each run, paired, with its interval.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.baselines import Fixed, Infaas, LoadTable, ModelSwitching, Oracle, Static
from benchmarks.harness import Row, interval, run
from benchmarks.ladder import Made, ladder
from benchmarks.switching_plots import draw
from benchmarks.switching_profile import BATCHES, CORES, TASK, THREADS, Profile, Sampler, Sessions, measure
from benchmarks.switching_real import Questions, play_for_real
from benchmarks.virtual import Decider, Outcomes, effective_accuracy, parts_of, play, since, switches
from scheduler.station import Station
from simulator.arrivals import Arrivals, modulated, poisson

LOADS = (0.3, 0.8, 1.5, 3.0)
"""Of the largest variant's capacity."""

STAYS_S = (20.0, 3.0)
DEADLINES = (1.0, 1.3, 1.6, 1.9, 2.2)
"""Of the largest variant's low-load p99."""

SWEEP = (0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 3.6)
"""Loads that the tables of Model-Switching are trained at, of the largest variant's capacity."""

WARM_S = 5.0
"""Of each run on this machine that do not count: one is a twelfth as long as in virtual time, where what is learnt at
first weighs little."""

PARTS = 10
"""Of a run, whose differences are samples: half a minute each in virtual time, more than the longest stay."""

OURS, PUBLISHED, BATCHED, ORACLE = "modelless", "model_switching", "model_switching_batched", "oracle"


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long everything is measured, in seconds unless it says otherwise."""

    cell: float
    sweep: float
    virtual: float
    seeds: int
    real: float
    deadlines: tuple[float, ...] = DEADLINES


FULL = Lengths(cell=0.6, sweep=20.0, virtual=300.0, seeds=5, real=20.0)
QUICK = Lengths(cell=0.06, sweep=3.0, virtual=20.0, seeds=1, real=0.0, deadlines=(1.0, 2.2))


@dataclass(frozen=True, slots=True)
class Setup:
    """What every run needs."""

    made: Sequence[Made]
    profile: Profile
    capacity: float
    """Rows a second that the largest variant sustains."""
    p99_s: float
    """Of the largest variant at low load."""

    @property
    def accuracy(self) -> dict[str, float]:
        """By variant."""
        return {variant.name: variant.accuracy for variant in self.made}

    @classmethod
    def of(cls, made: Sequence[Made], profile: Profile) -> Setup:
        """Capacity and low-load p99 at the better number of threads for each."""
        largest = made[0].name
        capacity = max(CORES // t / profile.median(largest, t, 1) for t in THREADS)
        p99 = min(profile.quantile((largest, t, 1), 0.99) for t in THREADS)
        return cls(made, profile, capacity, p99)


@dataclass(frozen=True, slots=True)
class Trained:
    """What the baselines know of one deadline."""

    published: LoadTable
    batched: LoadTable
    static: Mapping[str, Fixed]
    """The best setting of each variant over all loads of the sweep."""


def train(setup: Setup, deadline_s: float, seconds: float) -> Trained:
    """Sweep every setting over every load in virtual time."""
    settings = [Fixed(v.name, t, b) for v in setup.made for t in THREADS for b in BATCHES]
    found: dict[float, dict[Fixed, float]] = {}
    for factor in SWEEP:
        load = factor * setup.capacity
        times = poisson(load, seconds, seed=1)
        found[load] = {
            setting: effective_accuracy(
                play(Static(CORES, setting, setup.profile.median), TASK, times, deadline_s, Sampler(setup.profile, 1)),
                deadline_s,
                setup.accuracy,
            )[0]
            for setting in settings
        }
    weights = {factor * setup.capacity: 1.0 for factor in SWEEP if factor in LOADS}
    return Trained(
        published=[(load, _best(of, lambda s: s.batch == 1)) for load, of in found.items()],
        batched=[(load, _best(of, lambda s: True)) for load, of in found.items()],
        static={
            v.name: max(
                (s for s in settings if s.variant == v.name), key=lambda s: sum(found[load][s] for load in weights)
            )
            for v in setup.made
        },
    )


def _best(found: Mapping[Fixed, float], allowed: Callable[[Fixed], bool]) -> Fixed:
    return max((setting for setting in found if allowed(setting)), key=lambda setting: found[setting])


Policy = Callable[[Arrivals], Decider]


def policies(setup: Setup, trained: Trained, deadline_s: float) -> dict[str, Policy]:
    """What makes each decider for some arrivals; ours first."""
    curve = setup.profile.median
    made: dict[str, Policy] = {
        OURS: lambda arrivals: _station(setup),
        PUBLISHED: lambda arrivals: ModelSwitching(CORES, trained.published, curve),
        BATCHED: lambda arrivals: ModelSwitching(CORES, trained.batched, curve),
        "infaas": lambda arrivals: Infaas(CORES, setup.accuracy, curve, deadline_s, BATCHES),
        ORACLE: lambda arrivals: Oracle(CORES, trained.batched, curve, arrivals.times),
    }
    for variant, setting in trained.static.items():
        made[f"static:{variant}"] = _static(setting, setup)
    return made


def _static(setting: Fixed, setup: Setup) -> Policy:
    return lambda arrivals: Static(CORES, setting, setup.profile.median)


def _station(setup: Setup) -> Station:
    station = Station(CORES)
    station.offer(setup.profile.ladder(setup.made), 0.0)
    for variant in setup.made:
        for threads in THREADS:
            station.resident(TASK, variant.name, threads)
    return station


def load(setup: Setup, stay_s: float, seconds: float, seed: int) -> Arrivals:
    """The arrivals of one run."""
    return modulated([factor * setup.capacity for factor in LOADS], stay_s, seconds, seed=seed)


def virtual(setup: Setup, trained: Mapping[float, Trained], lengths: Lengths, workers: Executor) -> list[Row]:
    """Every policy at every deadline and stay, over the same arrivals."""
    if not lengths.virtual:
        return []
    cases = [
        (Case("virtual", deadline_s, stay, lengths.virtual), of)
        for stay, (deadline_s, of) in product(STAYS_S, trained.items())
    ]
    found: list[Row] = []
    for rows in workers.map(partial(_play_case, setup, lengths.seeds), *zip(*cases, strict=True)):
        found += rows
        _progress(found)
    return found


def _play_case(setup: Setup, seeds: int, case: Case, trained: Trained) -> list[Row]:
    loads = [load(setup, case.stay_s, case.seconds, seed) for seed in range(seeds)]
    runs = {
        name: [
            play(policy(arrivals), TASK, arrivals.times, case.deadline_s, Sampler(setup.profile, 2))
            for arrivals in loads
        ]
        for name, policy in policies(setup, trained, case.deadline_s).items()
    }
    return _rows(setup, case, runs)


def real(setup: Setup, trained: Mapping[float, Trained], sessions: Sessions, lengths: Lengths) -> list[Row]:
    """The policies in turn on this machine; of the static ones the one that is best in virtual time."""
    if not lengths.real:
        return []
    questions, found = Questions.of(sessions), []
    drawn = False
    for stay in STAYS_S:
        arrivals = load(setup, stay, WARM_S + lengths.real, seed=11)
        for deadline_s, of in trained.items():
            chosen = policies(setup, of, deadline_s)
            best = max(
                (name for name in chosen if name.startswith("static:")),
                key=lambda name: _score(
                    setup,
                    play(chosen[name](arrivals), TASK, arrivals.times, deadline_s, Sampler(setup.profile, 2)),
                    deadline_s,
                ),
            )
            names = [name for name in chosen if name == best or not name.startswith(("static:", BATCHED))]
            runs = {
                name: [play_for_real(chosen[name](arrivals), sessions, questions, arrivals.times, deadline_s)]
                for name in names
            }
            counted = {name: [since(each, WARM_S)] for name, (each,) in runs.items()}
            found += _rows(setup, Case("real", deadline_s, stay, lengths.real), counted)
            _progress(found)
            if not drawn:
                draw(
                    Path("benchmarks/results"), arrivals, deadline_s, {n: r[0] for n, r in runs.items()}, setup.accuracy
                )
                drawn = True
    return found


def _score(setup: Setup, outcomes: Outcomes, deadline_s: float) -> float:
    return effective_accuracy(outcomes, deadline_s, setup.accuracy)[0]


@dataclass(frozen=True, slots=True)
class Case:
    """What all policies met alike."""

    mode: str
    deadline_s: float
    stay_s: float
    seconds: float


def _rows(setup: Setup, case: Case, runs: Mapping[str, Sequence[Outcomes]]) -> list[Row]:
    def scores(name: str, parts: int) -> list[tuple[float, float]]:
        return [
            effective_accuracy(part, case.deadline_s, setup.accuracy)
            for outcomes in runs[name]
            for part in parts_of(outcomes, parts)
        ]

    whole = {name: np.mean(scores(name, 1), axis=0) for name in runs}
    by_part = {name: [score for score, _ in scores(name, PARTS)] for name in runs}
    rows: list[Row] = []
    for name, each in runs.items():
        ahead, low, high = interval([ours - theirs for ours, theirs in zip(by_part[OURS], by_part[name], strict=True)])
        rows.append(
            {
                "mode": case.mode,
                "deadline_ms": case.deadline_s * 1e3,
                "dwell_s": case.stay_s,
                "policy": name,
                "effective_accuracy": float(whole[name][0]),
                "attainment": float(whole[name][1]),
                "switches_per_min": float(np.median([switches(outcomes.runs, case.seconds) for outcomes in each])),
                "ours_ahead": ahead,
                "ours_ahead_low": low,
                "ours_ahead_high": high,
                "of_oracle": float(whole[name][0] / whole[ORACLE][0]),
                "runs": len(each),
            }
        )
    return rows


def _progress(found: Sequence[Row]) -> None:
    last = found[-1]
    print(f"{last['mode']}: deadline {last['deadline_ms']:.1f} ms, stay {last['dwell_s']:g} s done", file=sys.stderr)


def rows(quick: bool, seconds: Mapping[str, float]) -> Sequence[Row]:
    """Virtual rows, then real ones; `seconds` overrides lengths by name."""
    lengths = QUICK if quick else FULL
    lengths = replace(lengths, virtual=seconds.get("virtual", lengths.virtual), real=seconds.get("real", lengths.real))
    made = ladder()
    # Spawned, as forks of a process with threads hang.
    workers = ProcessPoolExecutor(CORES, multiprocessing.get_context("spawn"))
    with workers, Sessions.of(made) as sessions:
        setup = Setup.of(made, measure(sessions, lengths.cell))
        deadlines = [factor * setup.p99_s for factor in lengths.deadlines]
        tables = workers.map(partial(train, setup, seconds=lengths.sweep), deadlines)
        trained = dict(zip(deadlines, tables, strict=True))
        print(f"trained for {', '.join(f'{each * 1e3:.1f}' for each in deadlines)} ms", file=sys.stderr)
        # What is real comes first: the machine is then as it was when it was measured.
        on_machine = real(setup, trained, sessions, lengths)
        return [*virtual(setup, trained, lengths, workers), *on_machine]


def main(argv: Sequence[str]) -> int:
    """Take the lengths out of the arguments, and run."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("virtual", "real"):
        parser.add_argument(f"--{name}", type=float)
    lengths, left = parser.parse_known_args(argv)
    seconds = {name: value for name, value in vars(lengths).items() if value is not None}
    return run("switching", lambda quick: rows(quick, seconds), left)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
