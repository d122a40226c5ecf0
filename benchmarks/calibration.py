"""Whether predictions come true: p95 latency under load, and medians at batch sizes that were not measured.

On each local tier by itself, five of the digits' variants are registered. Then (a) every placement runs batches of
sizes between the measured ones, and their medians are held against those foreseen; (b) a trace of requests is replayed
through the service, in an open loop with Poisson arrivals, at three shares of what the tier can do. The first part of a
replay lets live estimates settle; of the rest it is counted how often the answer came within the predicted 95th
percentile. Latency counts from the moment that a request was meant to be sent, however late the replay sent it.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import uvloop
from numpy.typing import NDArray

from benchmarks.harness import Row, run
from examples import export
from examples.digits import data
from examples.digits.build import TASK
from examples.digits.variants import candidates
from examples.training import train
from gateway.auth import ANONYMOUS
from gateway.errors import GatewayError
from gateway.local import Platform
from gateway.service import Service
from optimizer.bench import Bench
from optimizer.evaluation import Evaluation
from optimizer.plan import FULL, Plan
from optimizer.register import register
from optimizer.registration import Model, Registration
from registry.catalogue import Catalogue
from registry.model import LEVELS, Placement, Tier
from registry.prices import local_tiers
from scheduler.table import RESIDENT, table_of

TIERS = ("inline", "process-1769", "process-3538", "process-1769-snapstart")
VARIANTS = ("logistic", "forest-16", "forest-200", "svm", "mlp-32")
LOADS = (0.2, 0.5, 0.8)
"""Shares of the requests a second that the tier answers when each caller sends the next upon an answer."""

BETWEEN = (3, 6, 12, 24, 48, 5, 11, 23, 43)
"""Batch sizes between the usual measured ones; the first five that a profile does not have."""

BURST = FULL.burst

KINDS: tuple[tuple[int, dict[str, Any]], ...] = (
    (1, {"objective": "cost", "percentile": 95.0}),
    (1, {"objective": "latency", "percentile": 95.0}),
    (1, {"objective": "accuracy", "percentile": 95.0}),
    (3, {"objective": "cost", "percentile": 95.0}),
    (12, {"objective": "accuracy", "percentile": 95.0}),
)
"""Rows and hints of the requests, each kind as likely; so several variants have work at once."""


@dataclass(frozen=True, slots=True)
class Length:
    """How long to measure."""

    settle: int
    """Requests of a replay that are not judged."""
    judged: int
    """With 1,500, the standard error of a share of 95 % is 0.6 %."""
    batches: int
    """Runs of each placement at each unmeasured size."""
    closed_s: float
    plan: Plan


LONG = Length(settle=1000, judged=2000, batches=40, closed_s=2.0, plan=FULL)
SHORT = Length(settle=200, judged=300, batches=20, closed_s=0.5, plan=Plan(cell_s=0.1, most=100, alone=False, starts=2))


class Served(NamedTuple):
    """One answer of a replay, in milliseconds."""

    predicted: float
    actual: float


class Errors(NamedTuple):
    """Relative errors of foreseen medians."""

    between: list[float]
    """At batch sizes that were not measured."""
    measured: list[float]
    """At those that were: what the machine has drifted since, below which no fit can come."""


def rows(quick: bool) -> Sequence[Row]:
    """One row for each tier and load."""
    length = SHORT if quick else LONG
    registration = _registration()
    tiers = {tier.name: tier for tier in local_tiers()}
    return [row for name in TIERS for row in uvloop.run(_of_tier(tiers[name], registration, length))]


def _registration() -> Registration:
    digits = data.load()
    plain = (digits.train, digits.train_labels)
    chosen = [candidate for candidate in candidates() if candidate.name in VARIANTS]
    made = train(chosen, plain, plain, lambda estimator: export.classifier(estimator, 64, 10, input_name="image"))
    models = tuple(Model(variant.name, variant.model, variant.recipe) for variant in made)
    held_out = Evaluation({"image": digits.held_out}, "label", digits.held_out_labels)
    return Registration(TASK, held_out, {}, models, ())


async def _of_tier(tier: Tier, registration: Registration, length: Length) -> list[Row]:
    async with _registered(tier, registration, length.plan) as (platform, catalogue):
        evaluation = registration.evaluation
        errors = await _batch_errors(Bench(platform.backends[tier.name], evaluation, platform.clock), catalogue, length)
        # As the server does: a full collection then looks at requests only.
        gc.freeze()
        inputs = evaluation.inputs["image"]
        found: list[Row] = []
        for load in LOADS:
            # Right before each replay: the machine drifts.
            rate = load * await _capacity(platform.service, inputs, tier.concurrency, length.closed_s)
            _say(f"{tier.name}: {rate:.0f} requests/s, {load:.0%} of its capacity")
            served = await _replay(platform.service, inputs, rate, length.settle + length.judged)
            found.append(
                {"tier": tier.name, "load": load, "requests_per_s": rate, **_judged(served, length), **_spread(errors)}
            )
        return found


def _judged(served: Sequence[Served | None], length: Length) -> dict[str, Any]:
    """What the held-out part of a replay shows."""
    answers = [answer for answer in served[length.settle :] if answer is not None]
    actual = [answer.actual for answer in answers] or [np.nan]
    return {
        "coverage_p95": float(np.mean([answer.actual <= answer.predicted for answer in answers])) if answers else 0.0,
        "predicted_p95_ms": float(np.median([answer.predicted for answer in answers])) if answers else None,
        "p50_ms": float(np.quantile(actual, 0.50)),
        "p95_ms": float(np.quantile(actual, 0.95)),
        "requests": len(answers),
        "refused": sum(answer is None for answer in served),
    }


def _spread(errors: Errors) -> dict[str, Any]:
    return {
        "batch_error_median": float(np.median(errors.between)),
        "batch_error_p90": float(np.quantile(errors.between, 0.9)),
        "batches": len(errors.between),
        "drift_median": float(np.median(errors.measured)),
    }


@asynccontextmanager
async def _registered(tier: Tier, registration: Registration, plan: Plan) -> AsyncIterator[tuple[Platform, Catalogue]]:
    """A platform that has this tier only, and its catalogue."""
    with tempfile.TemporaryDirectory(prefix="calibration-") as folder:
        async with Platform.open(Path(folder)) as platform:
            platform.serve(tier)
            await platform.prepare()
            whole = Registration(
                registration.task, registration.evaluation, registration.calibration, registration.models, (tier,)
            )
            _say(f"{tier.name}: measuring {len(whole.models)} variants")
            await register(whole, platform.store, platform.blobs, platform.backends, plan=plan, clock=platform.clock)
            yield platform, await platform.refresh()


async def _batch_errors(bench: Bench, catalogue: Catalogue, length: Length) -> Errors:
    """How far off each foreseen median is, relative to the median of runs now."""
    between = [(p, rows) for p in catalogue.placements_of(TASK.name) for rows in _between(catalogue, p)]
    measured = [(p, s.rows) for p in catalogue.placements_of(TASK.name) for s in catalogue.profiles[p.id].service]
    times: dict[tuple[Placement, int], list[float]] = {cell: [] for cell in (*between, *measured)}
    for turn in range(length.batches // BURST + 1):
        for (placement, rows), samples in times.items():
            variant = catalogue.variants[placement.variant]
            ms = [(await bench.run(placement, variant, rows)).ms for _ in range(BURST)]
            if turn:  # the first loads, and fills buffers of this size
                samples.extend(ms)
    off = {cell: abs(_foreseen(catalogue, *cell) / median(samples) - 1) for cell, samples in times.items()}
    return Errors([off[cell] for cell in between], [off[cell] for cell in measured])


def _between(catalogue: Catalogue, placement: Placement) -> list[int]:
    measured = {service.rows for service in catalogue.profiles[placement.id].service}
    return [rows for rows in BETWEEN if rows not in measured][:5]


def _foreseen(catalogue: Catalogue, placement: Placement, rows: int) -> float:
    table = table_of(catalogue, TASK.name)
    column = table.columns[RESIDENT][table.placements.index(placement)]
    return float(table.batch(rows).grid[LEVELS.index(0.5), column])


async def _capacity(service: Service, inputs: NDArray[np.float32], callers: int, seconds: float) -> float:
    """Requests a second when so many callers each send the next request upon an answer."""
    trace = _trace(inputs, seed=1)
    ends = service.clock() + seconds

    async def call() -> int:
        answered = 0
        while service.clock() < ends:
            # A task each and a look at the timers, as a replay has it: that is work of the same process.
            await asyncio.sleep(0)
            answered += await asyncio.create_task(_served(service, next(trace), service.clock())) is not None
        return answered

    await _served(service, next(trace), service.clock())
    started = service.clock()
    answered = sum(await asyncio.gather(*(call() for _ in range(callers))))
    return answered / (service.clock() - started)


async def _replay(service: Service, inputs: NDArray[np.float32], rate: float, count: int) -> list[Served | None]:
    """So many requests at Poisson arrivals of this rate (per second); None for those that were refused."""
    trace = _trace(inputs, seed=2)
    due = service.clock() + np.cumsum(np.random.default_rng(3).exponential(1 / rate, count))
    under_way = []
    for at in due.tolist():
        await asyncio.sleep(max(0.0, at - service.clock()))
        under_way.append(asyncio.create_task(_served(service, next(trace), at)))
    return list(await asyncio.gather(*under_way))


Question = tuple[NDArray[np.float32], dict[str, Any]]


def _trace(inputs: NDArray[np.float32], seed: int) -> Iterator[Question]:
    """Requests of all KINDS in random order, on held-out rows in turn."""
    random = np.random.default_rng(seed)
    start = 0
    while True:
        count, hints = KINDS[random.integers(len(KINDS))]
        index = (start + np.arange(count)) % len(inputs)
        start += count
        yield inputs[index], hints


async def _served(service: Service, question: Question, arrived: float) -> Served | None:
    rows, hints = question
    try:
        answer = await service.predict(ANONYMOUS, TASK.name, {"image": rows}, hints, arrived=arrived)
    except GatewayError:
        return None
    return Served(answer.decision.predicted_latency_ms, answer.decision.latency_ms)


def _say(what: str) -> None:
    print(f"  {what}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run("calibration", rows))
