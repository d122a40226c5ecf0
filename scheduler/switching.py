"""Which variant runs next, on how many threads, for how many works: a bid price for the cores' time; pure.

Effective accuracy, P(done by the deadline) × accuracy, is the objective (Zhang et al., Model-Switching, HotCloud '20,
section 3). There, a table by load is consulted once a second. Here every run is chosen from the queue as it is. The
load sets a price: with λ rows a second for C cores a row has C / λ core-seconds, and the concave hull of (core-seconds,
effective accuracy) over all ways to run says what one more core-second would bring to a row (the dual of the
fractional multiple-choice knapsack; Sinha & Zoltners 1979; bid prices: Talluri & van Ryzin 1998). A run is worth what
its works gain beyond what a row is worth anyway, less the price of the core time it takes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from scheduler.batching import Service
from scheduler.work import Rung, Work

FILLED = 0.9
"""The share of the cores' time that is given away: the rest is for arrivals in bunches. Set by `benchmarks.switching`:
at 1.0 queues grow before the price does, at 0.8 accuracy is left unused."""


@dataclass(frozen=True, slots=True)
class Option:
    """One way to run: a variant on some threads."""

    rung: Rung
    threads: int
    service: Service
    resident: bool = True


@dataclass(frozen=True, slots=True)
class Choice:
    """What to run: the first `count` of the works, and what it is worth in right answers beyond what was sure."""

    option: Option
    count: int
    rows: int
    worth: float


@dataclass(frozen=True, slots=True)
class Price:
    """What core time costs, in right answers."""

    per_core_s: float
    per_row: float
    """What a row is worth that is served at this price."""


def price_of(options: Sequence[Option], *, budget_s: float, patience_s: float, cores: float) -> Price:
    """The price of core time when each row has `budget_s` core-seconds, and `patience_s` from arrival to deadline."""
    hull = _hull([_steady(option, patience_s, cores) for option in options])
    at = bisect_right(hull, (budget_s, inf))
    if at >= len(hull):
        return Price(0.0, hull[-1][1])
    (x0, y0), (x1, y1) = hull[at - 1], hull[at]
    slope = (y1 - y0) / (x1 - x0)
    return Price(slope, y0 - slope * x0)


def _steady(option: Option, patience_s: float, cores: float) -> tuple[float, float]:
    """Core-seconds and effective accuracy of a row when runs follow one another.

    A row waits for the first of the c runs that go on, 1 / c of a run on average, then for its own.
    """
    threads, service = option.threads, option.service
    lanes = max(1.0, cores / threads)
    left = patience_s * lanes / (lanes + 1)
    rows = service.most(left, option.rung.max_batch)
    chance = service.within(rows, left) if rows > 1 else service.within(1, patience_s)
    return threads * service.median(rows) / rows, option.rung.accuracy * chance


def _hull(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The corners of the concave, rising hull of some points and (0, 0), by rising x."""
    hull: list[tuple[float, float]] = [(0.0, 0.0)]
    for x, y in sorted(points):
        if y <= hull[-1][1]:
            continue
        while len(hull) > 1 and _turns_left(hull[-2], hull[-1], (x, y)):
            hull.pop()
        if x <= hull[-1][0]:
            hull[-1] = (x, y)  # better at the same time
        else:
            hull.append((x, y))
    return hull


def _turns_left(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) >= (c[0] - a[0]) * (b[1] - a[1])


def budget(works: Sequence[Work], rate: float, *, now: float, cores: float, free_at: Sequence[float]) -> float:
    """Core-seconds for a row: what arrivals at `rate` (rows/s) leave, or what the queue's deadlines do, if that is less.

    `free_at` is when each core is free (s).
    """
    least = FILLED * cores / rate if rate > 0 else inf
    rows = 0
    for work in works:
        rows += work.rows
        left = sum(max(0.0, work.deadline - max(now, at)) for at in free_at) if work.deadline < inf else inf
        least = min(least, left / rows)
    return least


def choose(works: Sequence[Work], options: Sequence[Option], price: Price, *, now: float, free: int) -> Choice | None:
    """The run that is worth most, of those that `free` cores can begin now; None when no option can run the first.

    `works` are of one form, the most urgent first. All works of a run are answered by a variant that holds the
    floors of all of them.
    """
    best: Choice | None = None
    for option in options:
        if option.threads > free:
            continue
        for count, rows in _sizes(works, option):
            worth = _worth(works, count, rows, option, price, now)
            if best is None or worth > best.worth:
                best = Choice(option, count, rows, worth)
    return best


def _sizes(works: Sequence[Work], option: Option) -> list[tuple[int, int]]:
    """How many works from the front may share a run, and their rows: 1, 2, 4, … and all that may."""
    limit = min(option.rung.max_batch, max(option.service.reach, 1))
    sizes: list[tuple[int, int]] = []
    rows = 0
    for count, work in enumerate(works, 1):
        if work.floor > option.rung.accuracy or (work.variant or option.rung.variant) != option.rung.variant:
            break
        if rows and rows + work.rows > limit:
            break
        rows += work.rows
        if count & (count - 1) == 0:
            sizes.append((count, rows))
    else:
        count += 1
    if rows and (not sizes or sizes[-1][0] != count - 1):
        sizes.append((count - 1, rows))
    return sizes


def _worth(works: Sequence[Work], count: int, rows: int, option: Option, price: Price, now: float) -> float:
    service = option.service
    chance = service.within(rows, works[0].deadline - now)
    if chance >= 0.99:
        sure = chance * rows  # who comes later has no less time
    else:
        sure = sum(work.rows * service.within(rows, work.deadline - now) for work in works[:count])
    spent = price.per_core_s * option.threads * service.median(rows)
    return option.rung.accuracy * sure - price.per_row * rows - spent
