"""What a day of sporadic requests for fifty tasks costs, simulated: ours against endpoints, INFaaS and plain functions.

`python -m benchmarks.cost [--quick] [--json FILE] [--traces FOLDER]`. A task is asked for as an application of the
sporadic half of Azure Functions 2019 is; `benchmarks.portfolio` says what the tasks are, `benchmarks.cost_systems` how
each system is deployed, always as small as its SLOs allow.

Ours is planned for the least worth of an answer (WORTHS) at which it attains what per-model endpoints do, less
TOLERANCE; what other worths come to is in the rows' details. A load k times as high is k applications like the first
for every task, each at its own time of day; from MOST requests on, a part of the day stands for it.

Counted besides what runs models: the HTTP API for all systems alike; for ours also its API function (one environment
provisioned, and as long as every answer takes), the functions that prewarm and evict each minute, and what they read
and write. Not counted, and small or alike for all: logs, S3, ECR, traffic to the internet; nor what always-on systems
need in addition: load balancers, NAT gateways, a second copy for availability, SageMaker's surcharge on such instances.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks import cost_systems
from benchmarks.cost_systems import System
from benchmarks.harness import Row, interval, run
from benchmarks.policies import FOLDER, MINUTE_S
from benchmarks.portfolio import Application, applications
from registry.model import StartMode, Tier
from registry.prices import SMALL_SIZES, figures, lambda_price, lambda_tiers
from scheduler.capacity import WORTH_USD
from simulator import traces
from simulator.arrivals import of_counts
from simulator.outcome import Outcome
from simulator.policies.capacity import Budget
from simulator.simulation import Stream, simulate

SEEDS = 5
DAY_S = 86_400.0
QUICK_S = 2 * 3600.0
"""Of the day, the part that `--quick` looks at: its busiest hours."""

TOLERANCE = 0.01
"""Attainments that differ by less are equal here."""

WORTHS = (WORTH_USD, 1e-2, 1e-1)
"""US dollars that a right answer in time is worth; ours keeps more warm for more."""

BUDGET_USD_PER_H = 0.05
"""For keeping warm; a plan takes far less."""

LOADS = (10, 100, 1_000, 10_000)
"""Times as much as in the trace."""

MOST = 30_000
"""Requests of one simulation; at a load that has more in a day, the day's first part is simulated."""

LEAST_MINUTES = 6

ROUTER_MB, PLANNER_MB = 512, 1769
"""Of the api function, and of prewarm and evict (template.yaml)."""

ROUND_S = 1.0
"""Assumed of each minute's prewarm and evict: start-up of the runtime's part, reads and a plan for fifty tasks."""

ROUND_READS, ROUND_WRITES = 20, 10
"""Assumed of both together, each of one unit."""

Sized = Callable[[Sequence[Application], Sequence[Stream]], System]

OTHERS: Mapping[str, Sized] = {
    "per_model": cost_systems.per_model,
    "shared": cost_systems.shared,
    "infaas": cost_systems.infaas,
    "lambda_per_model": cost_systems.lambda_per_model,
    "lambda_provisioned": cost_systems.lambda_provisioned,
}

ON_DEMAND = "modelless_on_demand"
OURS: Mapping[str, tuple[Tier, ...]] = {
    "modelless": lambda_tiers(SMALL_SIZES),
    ON_DEMAND: tuple(tier for tier in lambda_tiers(SMALL_SIZES) if tier.start_mode is StartMode.ONDEMAND),
}
"""Ours with Lambda's small sizes in all start modes, and without snapshots, which cost more a day than all else."""

FIELDS = ("usd_per_day", "attainment", "effective_accuracy", "cold_share")
KINDS = ("requests", "busy", "init", "starts", "idle")
"""Of dollars, as `simulator.bill` counts them; `front` is what is counted besides."""


@dataclass(frozen=True, slots=True)
class Day:
    """Requests for every application in a day or a part of it."""

    apps: tuple[Application, ...]
    streams: tuple[Stream, ...]
    seconds: float

    @property
    def requests(self) -> int:
        """In all."""
        return sum(len(stream.times) for stream in self.streams)

    @property
    def rate(self) -> float:
        """Requests a second over all tasks."""
        return self.requests / self.seconds


Figures = Mapping[str, float]


def main(argv: Sequence[str] | None = None) -> int:
    """Compare all systems; say what is missing where the traces are not found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost", add_help=False)
    parser.add_argument("--traces", type=Path, default=FOLDER, metavar="FOLDER")
    options, rest = parser.parse_known_args(argv)
    try:
        return run("cost", lambda quick: compare(options.traces, quick), rest, details=DETAILS)
    except FileNotFoundError as fault:
        parser.error(f"there is no {fault.filename}: name the folder of the traces with --traces")


def compare(folder: Path, quick: bool) -> list[Row]:
    """A row for each system: medians over the seeds with their intervals, and where our advantage over it ends."""
    counts = sporadic(folder)
    days = [day(counts, seed, window_s=QUICK_S if quick else DAY_S) for seed in range(SEEDS)]
    found = {name: seen(sized, days) for name, sized in OTHERS.items()}
    needed = median(found["per_model"], "attainment") - TOLERANCE
    tried = {name: attaining(needed, tiers, days) for name, tiers in OURS.items()}
    found |= {name: of_worths[-1][1] for name, of_worths in tried.items()}
    worths = {name: of_worths[-1][0] for name, of_worths in tried.items()}
    loads = [] if quick else [at_load(counts, load, worths) for load in LOADS]
    at_one = {name: {field: median(of_seeds, field) for field in ("rate", *FIELDS)} for name, of_seeds in found.items()}
    return [_row(name, found, [at_one, *loads], tried.get(name, ())) for name in found]


def seen(sized: Sized, days: Sequence[Day]) -> list[Figures]:
    """The figures of a system on every day."""
    return [measured(sized, of_seed, seed) for seed, of_seed in enumerate(days)]


def attaining(needed: float, tiers: tuple[Tier, ...], days: Sequence[Day]) -> list[tuple[float, list[Figures]]]:
    """Worths from the least on, with the figures of ours, up to the first at which it attains what is needed."""
    tried: list[tuple[float, list[Figures]]] = []
    for worth in WORTHS:
        tried.append((worth, seen(ours(worth, tiers), days)))
        if median(tried[-1][1], "attainment") >= needed:
            break
    return tried


def sporadic(folder: Path) -> traces.Ints:
    """Requests in each minute of the applications that were active in at most as many minutes as half of all were."""
    counts = traces.azure_2019(folder / "azure2019_femux" / "containers_per_min_100apps.csv.gz").counts
    order = np.argsort((counts > 0).sum(axis=1), kind="stable")
    return counts[order[: len(order) // 2]]


def day(counts: traces.Ints, seed: int, *, load: int = 1, window_s: float = DAY_S) -> Day:
    """A day at so many times the load; each seed has other applications for the tasks, and other moments."""
    apps = applications(len(counts))
    random = np.random.default_rng(seed)
    rows = [superposed(counts[row], load, random) for row in random.permutation(len(counts))]
    minutes = min(counts.shape[1], int(window_s / MINUTE_S))
    first = _busiest(np.sum(rows, axis=0), minutes)
    streams = tuple(
        Stream(
            app.task.name,
            app.slo,
            of_counts(row[first : first + minutes], seed=seed * len(apps) + i, width_s=MINUTE_S),
        )
        for i, (app, row) in enumerate(zip(apps, rows, strict=True))
    )
    return Day(apps, streams, minutes * MINUTE_S)


def superposed(row: traces.Ints, load: int, random: np.random.Generator) -> traces.Ints:
    """The counts of so many applications like this one: itself, and others each begun at another minute of the day."""
    shifts = np.bincount(random.integers(len(row), size=load - 1), minlength=len(row))
    shifts[0] += 1
    return np.rint(np.fft.irfft(np.fft.rfft(row) * np.fft.rfft(shifts), len(row))).astype(np.int64)


def ours(worth_usd: float, tiers: tuple[Tier, ...]) -> Sized:
    """Our system on these tiers, an answer being worth so much."""
    return partial(cost_systems.modelless, budget=Budget(BUDGET_USD_PER_H, worth_usd), tiers=tiers)


def measured(sized: Sized, of_day: Day, seed: int) -> dict[str, float]:
    """The figures of one system in one simulation, dollars for a whole day."""
    system = sized(of_day.apps, of_day.streams)
    policy = system.policy()
    outcome = simulate(
        system.catalogue,
        of_day.streams,
        policy,
        seconds=of_day.seconds,
        seed=seed,
        hardware=system.platform(policy),
    )
    per_day = DAY_S / of_day.seconds
    usd = {kind: getattr(outcome.dollars, kind) * per_day for kind in KINDS}
    usd["front"] = front(outcome, per_day, routed=system.routed)
    summary = outcome.summary()
    return {
        "requests": of_day.requests * per_day,
        "rate": of_day.rate,
        "usd_per_day": sum(usd.values()),
        **{field: summary[field] for field in FIELDS[1:]},
        **{f"usd_{kind}": dollars for kind, dollars in usd.items()},
    }


def front(outcome: Outcome, per_day: float, *, routed: bool) -> float:
    """US dollars a day of what is before the models: for all the HTTP API, and where `routed` the functions of ours."""
    requests = len(outcome.arrived) * per_day
    usd = requests * float(figures()["http_api"]["usd_per_request"])
    if not routed:
        return usd
    answered = outcome.latency_ms[np.isfinite(outcome.latency_ms)]
    kept, beyond = lambda_price(ROUTER_MB, start_mode=StartMode.PROVISIONED), lambda_price(ROUTER_MB)
    other = lambda_price(PLANNER_MB)
    busy_s = float(answered.sum()) / 1000 * per_day
    # One environment is provisioned, which is in use for the load's share of the time (Erlang's loss formula for one);
    # what finds it in use runs on demand.
    load = busy_s / DAY_S
    usd += requests * kept.usd_per_request + DAY_S * kept.usd_per_idle_s
    usd += busy_s * (kept.usd_per_busy_s + load * beyond.usd_per_busy_s) / (1 + load)
    sheet = figures()["dynamodb"]
    round_usd = 2 * (other.usd_per_request + ROUND_S * other.usd_per_busy_s)
    round_usd += ROUND_READS * sheet["usd_per_read"] + ROUND_WRITES * sheet["usd_per_write"]
    return usd + DAY_S / MINUTE_S * float(round_usd)


def at_load(counts: traces.Ints, load: int, worths: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """The figures of ours, and of those that it is compared with, at a higher load; one seed."""
    minutes = max(LEAST_MINUTES, min(counts.shape[1], MOST * counts.shape[1] // (int(counts.sum()) * load)))
    of_day = day(counts, 0, load=load, window_s=minutes * MINUTE_S)
    systems = {name: OTHERS[name] for name in COMPARED}
    systems |= {name: ours(worths[name], tiers) for name, tiers in OURS.items()}
    return {name: measured(sized, of_day, 0) for name, sized in systems.items()}


COMPARED = ("per_model", "shared", "lambda_per_model")


def ends_at(loads: Sequence[Mapping[str, Figures]], name: str, mine: str) -> float | None:
    """Requests a second at which `mine` begins to cost as much as another system, or to attain less than per-model
    endpoints do (by more than TOLERANCE), whichever is sooner; on lines over the logarithm of the load.

    0 where it does from the first load on, and None where it does not within the loads.
    """
    seen_at = [of_load for of_load in loads if name in of_load]
    rates = np.log([of_load[mine]["rate"] for of_load in seen_at])
    cheaper = np.log([of_load[name]["usd_per_day"] / of_load[mine]["usd_per_day"] for of_load in seen_at])
    attains = [of_load[mine]["attainment"] - of_load["per_model"]["attainment"] + TOLERANCE for of_load in seen_at]
    ends = [end for margin in (cheaper.tolist(), attains) for end in _falls(rates.tolist(), margin)]
    return min(ends, default=None)


def _falls(rates: Sequence[float], margins: Sequence[float]) -> Iterator[float]:
    """Where a margin is used up, by the logarithms of the loads."""
    if margins[0] <= 0:
        yield 0.0
    for (x, y), (next_x, next_y) in pairwise(zip(rates, margins, strict=True)):
        if y > 0 >= next_y:
            yield float(np.exp(x + (next_x - x) * y / (y - next_y)))


def median(of_seeds: Sequence[Figures], field: str) -> float:
    """Over the seeds."""
    return float(np.median([figures[field] for figures in of_seeds]))


DETAILS = (
    *(f"{field}_{end}" for field in (*FIELDS, "ratio_vs_per_model") for end in ("low", "high")),
    *(f"usd_{kind}" for kind in (*KINDS, "front")),
    "loads",
    "worths",
    "advantage_on_demand_ends_at",
)


def _row(
    name: str,
    found: Mapping[str, Sequence[Figures]],
    loads: Sequence[Mapping[str, Figures]],
    tried: Sequence[tuple[float, Sequence[Figures]]],
) -> Row:
    of_seeds = found[name]
    samples = {field: [figures[field] for figures in of_seeds] for field in FIELDS}
    endpoints = [figures["usd_per_day"] for figures in found["per_model"]]
    samples["ratio_vs_per_model"] = [a / b for a, b in zip(endpoints, samples["usd_per_day"], strict=True)]
    values = {field: interval(of_field) for field, of_field in samples.items()}
    return {
        "system": name,
        **{field: middle for field, (middle, _, _) in values.items()},
        "requests": median(of_seeds, "requests"),
        "equal_attainment": values["attainment"][0] >= median(found["per_model"], "attainment") - TOLERANCE,
        "advantage_ends_at": None if name in OURS else ends_at(loads, name, "modelless"),
        **{f"{field}_low": low for field, (_, low, _) in values.items()},
        **{f"{field}_high": high for field, (_, _, high) in values.items()},
        **{f"usd_{kind}": median(of_seeds, f"usd_{kind}") for kind in (*KINDS, "front")},
        "loads": [{field: of_load[name][field] for field in ("rate", *FIELDS)} for of_load in loads if name in of_load],
        "worths": [
            {"worth_usd": worth, **{field: median(of_worth, field) for field in FIELDS}} for worth, of_worth in tried
        ],
        "advantage_on_demand_ends_at": None if name in OURS else ends_at(loads, name, ON_DEMAND),
    }


def _busiest(counts: traces.Ints, minutes: int) -> int:
    """The first of so many minutes in a row that have the most requests."""
    sums = np.concatenate([[0], np.cumsum(counts)])
    return int(np.argmax(sums[minutes:] - sums[:-minutes]))


if __name__ == "__main__":
    sys.exit(main())
