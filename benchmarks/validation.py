"""Whether the simulator tells the truth: a real run of the platform beside a simulated one, at three loads.

A task is measured by the product's own profiler; then `modelless up` serves it in a process of its own, and requests
come to it from another, at random: so often that they queue, so that some find their environment gone, or so seldom
that most of them do. The simulator is given the same catalogue and the same arrivals, and draws how long
starts, loads and runs take from the profile. What it does not know is measured on the running server: what HTTP and the
gateway add to an answer, by requests that meet nobody else. Nothing is fitted.

An environment's patience is a part of a second, so that a load meets its end many times in a minute and not in a day.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple
from urllib.parse import urlsplit

from benchmarks.harness import Row, machine, run
from benchmarks.http_client import HttpClient
from benchmarks.load import Target, open_loop, post
from benchmarks.load_measured import Measured
from benchmarks.overhead import timed
from benchmarks.validation_home import LONG, SHORT, TASK, pictures, profile, resize
from benchmarks.validation_rows import SETTLE_S, Compared, real_figures, rows_of, simulated_figures, summaries
from cli.running import running
from optimizer.plan import Plan
from registry.catalogue import Catalogue
from registry.model import LEVELS, Tier
from registry.prices import local_tiers
from simulator.arrivals import Floats, poisson
from simulator.hardware import Hardware
from simulator.policies.modelless import Modelless
from simulator.simulation import Stream, simulate

PATH = f"/v1/tasks/{TASK.name}/predict"

PROCESS, CONTAINER = "process-1769", "container-cpu"

IDLE_S = 0.4
"""After which an environment goes."""

ALONE = 20
"""Requests that measure what HTTP and the gateway add."""

SIMULATED = 15
"""Simulations of the same arrivals, whose draws differ."""


@dataclass(frozen=True, slots=True)
class Load:
    """Requests at random, and the tier that meets them."""

    name: str
    tier: str
    seconds: float
    """How long requests come, after SETTLE_S."""
    runs: int
    """At once at most: environments, or runs in a container."""
    rate: float | None = None
    """A second."""
    share: float | None = None
    """Of what the tier can do, where no rate is given."""

    def rate_for(self, run_s: float) -> float:
        """Requests a second, of so many seconds each."""
        return self.rate if self.rate is not None else (self.share or 0.0) * self.runs / run_s


@dataclass(frozen=True, slots=True)
class Length:
    """How much is measured."""

    repeats: int
    plan: Plan
    sparse_s: float
    medium_s: float
    heavy_s: float
    container_s: float
    """0: without."""

    def loads(self) -> tuple[Load, ...]:
        """The three loads of a process tier, and one of a container.

        First the one to which it matters most that the machine is still as it was measured.

        Of Poisson arrivals exp(-rate * IDLE_S) come when every environment has gone: 14 % and 74 %. A core is left to
        the server and the load generator, as what shares a core is not as it was measured.
        """
        environments = min(4, max(1, int(machine()["cores"]) - 1))
        container = (Load("container", CONTAINER, self.container_s, 2, share=0.25),) if self.container_s else ()
        return (
            Load("heavy", PROCESS, self.heavy_s, environments, share=0.7),
            Load("medium", PROCESS, self.medium_s, environments, rate=2.0 / IDLE_S),
            Load("sparse", PROCESS, self.sparse_s, environments, rate=0.3 / IDLE_S),
            *container,
        )


FULL = Length(5, LONG, sparse_s=60.0, medium_s=30.0, heavy_s=20.0, container_s=20.0)
QUICK = Length(1, SHORT, sparse_s=12.0, medium_s=6.0, heavy_s=4.0, container_s=0.0)


def rows(quick: bool) -> Sequence[Row]:
    """One row for each load and figure, and for each tier its largest error."""
    length = QUICK if quick else FULL
    loads = length.loads()
    found: dict[str, list[Compared]] = {load.name: [] for load in loads}
    for repeat in range(length.repeats):
        for tier in dict.fromkeys(load.tier for load in loads):
            with tempfile.TemporaryDirectory(prefix="validation-") as home:
                profile(Path(home), _tier(tier), length.plan)
                for number, load in enumerate(loads):
                    if load.tier == tier:
                        _say(f"repeat {repeat + 1} of {length.repeats}: {load.name}")
                        found[load.name].append(_compared(Path(home), load, seed=10 * repeat + number))
    compared = [row for load in loads for row in rows_of(load.name, load.tier, found[load.name])]
    return [*compared, *summaries(compared)]


UNPLANNED = ("--warm-budget", "0")
"""Both sides are played without planned warmth: starts and expiry are what is compared."""


def _compared(home: Path, load: Load, seed: int) -> Compared:
    """One real run, and simulated ones of the same arrivals."""
    catalogue = resize(home, load.tier, concurrency=load.runs, idle_timeout_s=IDLE_S)
    rate = load.rate_for(_service_s(catalogue).mean)
    seconds = SETTLE_S + load.seconds
    times = poisson(rate, seconds, seed=seed)
    with running(home, *UNPLANNED) as server:
        overhead_ms = _overhead_ms(server.url, catalogue, min(1 / rate, IDLE_S / 2))
        time.sleep(2 * IDLE_S)  # so that the load finds the tier as the simulator does: with nothing there
        real = real_figures(_asked(server.url, times))
    stream = Stream(TASK.name, catalogue.task(TASK.name).default_slo, times)
    hardware = Hardware(overhead_ms=overhead_ms)
    outcomes = [
        simulate(catalogue, [stream], Modelless(catalogue), seconds=seconds, seed=draw, hardware=hardware)
        for draw in range(SIMULATED)
    ]
    return Compared(int((times >= SETTLE_S).sum()), rate, real, [simulated_figures(outcome) for outcome in outcomes])


def _asked(url: str, times: Floats) -> Measured:
    """What came of one request at each of these times (s), each with a body of its own that is kept."""
    parts = urlsplit(url)
    target, bodies = Target(str(parts.hostname), int(parts.port or 80)), _bodies()
    return open_loop(target, [post(target, PATH, bodies[i % len(bodies)]) for i in range(len(times))], times)


def _bodies() -> list[bytes]:
    return [json.dumps({"inputs": row[None].tolist()}).encode() for row in pictures()]


def _overhead_ms(url: str, catalogue: Catalogue, pause_s: float) -> float:
    """What an answer over HTTP takes beyond the run that was profiled, where nobody else asks: medians of both.

    The pauses are as long as the load's, within an environment's patience: caches and cores cool down meanwhile.
    """
    with HttpClient(url) as client:
        request = client.request(PATH, _bodies()[0])
        client.send(request)  # starts
        alone_ms = [_alone(client, request, pause_s) for _ in range(ALONE)]
    return max(0.0, median(alone_ms) - 1000 * _service_s(catalogue).median)


def _alone(client: HttpClient, request: bytes, pause_s: float) -> float:
    time.sleep(pause_s)
    return timed(lambda: client.send(request))


class _Service(NamedTuple):
    """Seconds of a profiled run."""

    median: float
    mean: float


def _service_s(catalogue: Catalogue) -> _Service:
    (placement,) = catalogue.placements_of(TASK.name)
    latency = catalogue.profiles[placement.id].service[0].latency
    return _Service(latency.ms[LEVELS.index(0.5)] / 1000, latency.mean / 1000)


def _tier(name: str) -> Tier:
    return next(tier for tier in local_tiers() if tier.name == name)


def _say(what: str) -> None:
    print(f"  {what}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(run("validation", rows))
