"""Keep-alive policies over a day of 100 applications of Azure Functions: cold starts against idle time, in dollars.

Every active minute is one request of its application, at the end of the minute; `uniform_*` are the same anywhere in
the minute, medians over seeds. A request takes no time, and an application's first is always cold.

The baselines, and `modelless apart`, keep each application in an environment of its own, so their idle hours are the
applications'. `modelless` is the platform as it is: applications live together in environments, as many as fit into the
memory of one, and `scheduler.capacity` plans every minute which are warm and who lives where; its idle hours are the
environments'. What is loaded ahead into an environment that runs is counted as a start. `packed_always_on` is what that
sharing alone would bring: as many environments as hold everything, never let go. `idle_gb_hours` weighs idle hours by
memory: an application's own where it is alone, all of an environment that is shared.

`experienced_cold_share` leaves out cold starts that a resident substitute answered for; the environment that holds
substitutes counts as warm all day, in hours and in dollars. `idle_between_hours` are the idle hours without what came
after an application's last request. `usd` are idle hours as provisioned concurrency and START_S of INIT for every
start, ahead of a request or not, of `simulator.keepalive.cost.MEMORY_MB`; the requests themselves cost all the same.

`--traces FOLDER` has the traces, `--png FILE` gets the plot.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.harness import Row, interval, run
from benchmarks.keepalive_plot import draw
from scheduler.recurrence import Recurrence
from simulator.keepalive.cost import MEMORY_MB, usd
from simulator.keepalive.fourier import WARM_ABOVE, IceBreaker
from simulator.keepalive.greedy_dual import GreedyDual
from simulator.keepalive.histogram import HybridHistogram, LongShort
from simulator.keepalive.modelless import Modelless
from simulator.keepalive.policy import KeepAlive
from simulator.keepalive.replay import Replayed, replay
from simulator.keepalive.residency import Packed, PlannedResidency
from simulator.keepalive.substitutes import substituted
from simulator.keepalive.trace import Placed, Trace, one_a_minute
from simulator.keepalive.windows import Fixed, Oracle
from simulator.traces import PerMinute, application_mb, azure_2019

TRACES = Path("../shared/traces")
FILE = Path("azure2019_femux/containers_per_min_100apps.csv.gz")
PNG = Path("benchmarks/results/keepalive.png")

WINDOWS_MIN = (1, 2, 5, 10, 20, 30, 60)
CAPACITIES_GB = (2, 4, 6, 8, 10, 12)
"""Of the 15.7 GB of all 100 applications."""

THRESHOLDS = (0.1, 0.2, 0.3)
"""Forecast instances from which IceBreaker would keep one warm, other than as published: it is given a frontier too."""

START_S = 0.808
"""Length of a cold start in FeMux's metric (EuroSys'26)."""

RATIO = 0.05
"""Price of an idle minute over the cost of a cold start: what a window of 20 minutes, Azure's, says that a cold start
is worth, as it pays 20 minutes at most to avoid one (Karlin et al. 1988, the ski-rental problem)."""

RATIOS = (0.005, 0.01, 0.015, 0.02, 0.1, 0.5)
SHARED_RATIOS = (0.01, 0.2, 1.0)

ROOM = 60
"""Substitutes in one shared environment of 1,769 MB: 29 MB each, what the mean application of 161 MB keeps at the
best saving that Cicada (2025) has for placeholders, 81.8 %."""

ACTIVITY = (1, 11, 51, 151, 301, 701, 1301)
"""Least active minutes of each class of applications that a row has figures of."""

SEEDS = 5
OURS = "modelless"


@dataclass(frozen=True, slots=True)
class Case:
    """A policy, how it is called, and what is resident beside it."""

    name: str
    make: Callable[[Trace], KeepAlive]
    swept: bool = False
    """One of a family around a published or chosen setting: with one seed, and left out of a quick run."""
    room: int = 0
    """Substitutes in a shared environment that is warm all day; 0: there is no such environment."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a row says of one replay."""

    replayed: Replayed
    experienced: float
    idle_hours: float
    """Of environments, with the one that holds substitutes."""
    idle_between_hours: float
    starts: int
    """Of environments and, where they share one, of applications in it."""
    idle_gb_hours: float
    """Idle hours by memory: of each application its own, of a shared environment all of it."""


def cases(sizes_mb: Mapping[str, float]) -> Sequence[Case]:
    """Every policy, ours last; `sizes_mb` are the memory of the applications."""
    return (
        Case("none", lambda trace: Fixed(0.0)),
        *(_fixed(minutes) for minutes in WINDOWS_MIN),
        Case("hybrid_histogram", lambda trace: HybridHistogram()),
        Case("lsth", lambda trace: LongShort()),
        *(_greedy_dual(sizes_mb, gigabytes) for gigabytes in CAPACITIES_GB),
        Case("icebreaker", _icebreaker(WARM_ABOVE)),
        *(Case(f"icebreaker above={above:g}", _icebreaker(above), swept=True) for above in THRESHOLDS),
        Case("packed_always_on", lambda trace: Packed(trace, sizes_mb)),
        Case("oracle", Oracle),
        *(Case(f"{OURS} apart ratio={ratio:g}", _apart(ratio), swept=True, room=ROOM) for ratio in RATIOS),
        Case(f"{OURS} apart", _apart(RATIO), room=ROOM),
        *(Case(f"{OURS} ratio={ratio:g}", _ours(sizes_mb, ratio), swept=True, room=ROOM) for ratio in SHARED_RATIOS),
        Case(OURS, _ours(sizes_mb, RATIO), room=ROOM),
    )


def _fixed(minutes: int) -> Case:
    return Case(f"fixed_{minutes}min", lambda trace: Fixed(minutes))


def _greedy_dual(sizes_mb: Mapping[str, float], gigabytes: int) -> Case:
    cost_s = dict.fromkeys(sizes_mb, START_S)
    return Case(f"greedy_dual_{gigabytes}gb", lambda trace: GreedyDual(sizes_mb, gigabytes * 1024, cost_s))


def _icebreaker(above: float) -> Callable[[Trace], KeepAlive]:
    return lambda trace: IceBreaker(trace.applications, warm_above=above)


def _apart(ratio: float) -> Callable[[Trace], KeepAlive]:
    return lambda trace: Modelless(Recurrence(), ratio)


def _ours(sizes_mb: Mapping[str, float], ratio: float) -> Callable[[Trace], KeepAlive]:
    return lambda trace: PlannedResidency(sizes_mb, ratio, START_S)


def play(case: Case, trace: Trace, sizes_mb: Mapping[str, float]) -> Outcome:
    """Replay one trace, and hold that every request of it was."""
    policy = case.make(trace)
    replayed = replay(trace, policy)
    assert replayed.requests == tuple(np.bincount(trace.places).tolist()), case.name
    found: Collection[tuple[str, float]] = substituted(trace, case.room) if case.room else ()
    idle, between, starts = replayed.idle_hours, replayed.idle_between_hours, replayed.starts
    gb_hours = sum(each.idle * sizes_mb[each.application] for each in replayed.played) / 60 / 1024
    if isinstance(policy, PlannedResidency | Packed):  # whose environments are shared
        idle = between = policy.environment_minutes / 60
        starts = policy.starts + policy.loads + sum(len(each.colds) for each in replayed.played)
        gb_hours = idle * MEMORY_MB / 1024
    substitutes = bool(case.room) * trace.end / 60
    return Outcome(
        replayed,
        replayed.experienced(found),
        idle + substitutes,
        between + substitutes,
        starts,
        gb_hours + substitutes * MEMORY_MB / 1024,
    )


def rows(counted: PerMinute, sizes_mb: Mapping[str, float], *, quick: bool) -> Sequence[Row]:
    """One row for every policy."""
    placed: tuple[Placed, Placed] = ("minute", "uniform")
    at_minutes, *anywhere = (
        one_a_minute(counted, placed[seed > 0], seed=seed) for seed in range(2 if quick else 1 + SEEDS)
    )
    found = []
    for case in cases(sizes_mb):
        if not (quick and case.swept):
            seeds = anywhere[:1] if case.swept else anywhere
            found.append(
                row(case.name, play(case, at_minutes, sizes_mb), [play(case, trace, sizes_mb) for trace in seeds])
            )
            print(f"{case.name} done", file=sys.stderr)
    return found


def row(name: str, outcome: Outcome, uniform: Sequence[Outcome]) -> Row:
    """`uniform` are the same policy's with requests anywhere in their minutes."""
    replayed = outcome.replayed
    cold = interval([each.replayed.cold_share for each in uniform])
    idle = interval([each.idle_hours for each in uniform])
    return {
        "policy": name,
        "cold_share": replayed.cold_share,
        "experienced_cold_share": outcome.experienced,
        "idle_hours": outcome.idle_hours,
        "q3_app_cold_share": replayed.q3_cold_share,
        "idle_gb_hours": outcome.idle_gb_hours,
        "usd": usd(outcome.idle_hours, outcome.starts, START_S),
        "starts": outcome.starts,
        "idle_between_hours": outcome.idle_between_hours,
        "uniform_cold_share": cold[0],
        "uniform_idle_hours": idle[0],
        "uniform_cold_share_low": cold[1],
        "uniform_cold_share_high": cold[2],
        "uniform_idle_hours_low": idle[1],
        "uniform_idle_hours_high": idle[2],
        "uniform_experienced_cold_share": interval([each.experienced for each in uniform])[0],
        "requests": sum(replayed.requests),
        "applications": len(replayed.played),
        "by_activity": by_activity(replayed),
    }


def by_activity(replayed: Replayed) -> Sequence[Row]:
    """The same figures for classes of applications: the silent and the busy ask for different things of a policy."""
    found = []
    for least, beyond in pairwise((*ACTIVITY, math.inf)):
        members = [each for each in replayed.played if least <= each.requests < beyond]
        found.append(
            {
                "active_minutes_from": least,
                "applications": len(members),
                "requests": sum(each.requests for each in members),
                "colds": sum(len(each.colds) for each in members),
                "idle_hours": sum(each.idle for each in members) / 60,
            }
        )
    return found


DETAILS = (
    *(f"uniform_{figure}_{end}" for figure in ("cold_share", "idle_hours") for end in ("low", "high")),
    "uniform_experienced_cold_share",
    "requests",
    "applications",
    "by_activity",
)


def main(argv: Sequence[str]) -> int:
    """Take the folder and the plot's file out of the arguments, and run; 2 where the trace is not there."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--traces", type=Path, default=TRACES)
    parser.add_argument("--png", type=Path)
    own, left = parser.parse_known_args(argv)
    path = own.traces / FILE
    if not path.is_file():
        print(f"there is no {path}: name the folder with --traces FOLDER", file=sys.stderr)
        return 2
    counted = azure_2019(path)
    sizes_mb = dict(zip(counted.names, application_mb(path).tolist(), strict=True))

    def measured(quick: bool) -> Sequence[Row]:
        found = rows(counted, sizes_mb, quick=quick)
        png = own.png or (None if quick else PNG)
        if png is not None:
            draw(png, found)
        return found

    return run("keepalive", measured, left, details=DETAILS)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
