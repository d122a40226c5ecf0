"""Which variant runs next, on how many threads, for how many works: a bid price for the cores' time; pure.

Effective accuracy, P(done by the deadline) × accuracy, is the objective (Zhang et al., Model-Switching, HotCloud '20,
section 3). There, a table by load is consulted once a second. Here every run is chosen from the queue as it is, and the
table, which is trained from measured profiles, sets a price: with λ rows a second for C cores a row has C / λ
core-seconds, and the concave hull of (core-seconds, effective accuracy) over all ways to run says what one more
core-second would bring to a row (the dual of the fractional multiple-choice knapsack; Sinha & Zoltners 1979; bid
prices: Talluri & van Ryzin 1998). A run is worth what its works gain beyond what a row is worth anyway, less the price
of its core time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf

from scheduler.batching import Service, turn
from scheduler.work import Rung, Work, answers

FILLED = 0.7
"""The share of the cores' time that is given away: the rest is for arrivals in bunches. Set by `benchmarks.switching`:
at 0.9 up to nine in ten of the late works are late for want of it, and from 0.7 to 0.6 nothing changes."""

NEIGHBOURS = 2
"""Settings on either side of the table's own that a choice looks at: a queue is never exactly as its load says."""

HASTE_S = 1e3
"""After so long an answer without a deadline would be worth nothing: that is too little to choose by, and makes what is
quicker worth loading."""

SURE = 0.99
"""A chance from which on the more patient works of a run need no look of their own."""


@dataclass(frozen=True, slots=True)
class Option:
    """One way to run: a variant on some threads."""

    rung: Rung
    threads: int
    service: Service
    resident: bool = True

    @property
    def key(self) -> tuple[str, int]:
        """Variant and threads."""
        return self.rung.variant, self.threads


@dataclass(frozen=True, slots=True)
class Choice:
    """What to run, and what it is worth in right answers beyond what was sure."""

    option: Option
    works: tuple[Work, ...]
    rows: int
    worth: float


@dataclass(frozen=True, slots=True)
class Price:
    """What core time costs, in right answers."""

    per_core_s: float
    per_row: float
    """What a row is worth that is served at this price."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is best from some load on: a variant on replicas × threads, with batches of so many rows."""

    option: Option
    replicas: int
    batch: int
    row_s: float
    """Core-seconds of a row."""
    effective_accuracy: float
    """Of a row, when runs follow one another."""
    most_load: float
    """Rows per second up to which this is affordable for every row."""

    @property
    def threads(self) -> int:
        """Of each replica."""
        return self.option.threads


@dataclass(frozen=True)
class Table:
    """Load to setting, for works with one patience on some cores."""

    patience_s: float
    cores: float
    settings: tuple[Setting, ...]
    """By rising core-seconds of a row, so by falling load; each is a corner of the hull."""

    def at(self, load: float) -> Setting:
        """What serves `load` rows per second best when every row gets the same; the cheapest beyond what any can."""
        return self.settings[max(0, bisect_right(self._row_s, self.budget(load)) - 1)]

    def budget(self, load: float) -> float:
        """Core-seconds for each of `load` rows per second."""
        return FILLED * self.cores / load if load > 0 else inf

    def price(self, row_s: float) -> Price:
        """What core time costs when each row has `row_s` core-seconds."""
        i = bisect_right(self._row_s, row_s)
        if i == len(self.settings):
            return Price(0.0, self.settings[-1].effective_accuracy)
        x1, y1 = self.settings[i].row_s, self.settings[i].effective_accuracy
        x0, y0 = (self.settings[i - 1].row_s, self.settings[i - 1].effective_accuracy) if i else (0.0, 0.0)
        slope = (y1 - y0) / (x1 - x0)
        return Price(slope, y0 - slope * x0)

    def near(self, row_s: float) -> frozenset[str]:
        """The variants of the settings around a budget, and the cheapest."""
        i = bisect_right(self._row_s, row_s)
        around = self.settings[max(0, i - NEIGHBOURS) : i + NEIGHBOURS]
        return frozenset(setting.option.rung.variant for setting in (self.settings[0], *around))

    @cached_property
    def _row_s(self) -> list[float]:
        return [setting.row_s for setting in self.settings]


def train(options: Sequence[Option], *, patience_s: float, cores: float) -> Table:
    """The table for works with `patience_s` from arrival to deadline; raises ValueError without options.

    Sweeps all loads at once: a load is a budget of core-seconds for each row, and the settings that are best for some
    budget are the corners of the hull. What never ran sets no price: it would seem to cost nothing.
    """
    if not options:
        raise ValueError("a table needs a way to run")
    known = [option for option in options if option.service.known] or options
    points = [setting for option in known for setting in _steady(option, patience_s, cores)]
    return Table(patience_s, cores, tuple(_hull(points)))


def _steady(option: Option, patience_s: float, cores: float) -> Iterator[Setting]:
    """An option when runs follow one another, row by row and in the batches that take least time for a row.

    A row of a batch waits for the first of the c runs that go on, 1 / c of a run on average, then for its own.
    """
    threads, service = option.threads, option.service
    left = service.turn(patience_s, cores / threads)
    for rows in {1, service.efficient(service.most(left, option.rung.max_batch))}:
        chance = service.within(rows, turn(patience_s, cores / threads) if rows > 1 else patience_s)
        row_s = threads * service.mean(rows) / rows
        most_load = FILLED * cores / row_s if row_s else inf
        right = option.rung.right * chance
        yield Setting(option, max(1, int(cores / threads)), rows, row_s, right, most_load)


def _hull(points: Sequence[Setting]) -> list[Setting]:
    """The corners, after (0, 0), of the concave and rising hull of settings."""
    hull: list[Setting] = []
    for point in sorted(points, key=lambda p: (p.row_s, -p.effective_accuracy)):
        if hull and (point.effective_accuracy <= hull[-1].effective_accuracy or point.row_s <= hull[-1].row_s):
            continue
        while hull and _slope(hull[-2] if len(hull) > 1 else None, hull[-1]) <= _slope(hull[-1], point):
            hull.pop()
        hull.append(point)
    return hull


def _slope(a: Setting | None, b: Setting) -> float:
    x, y = (a.row_s, a.effective_accuracy) if a is not None else (0.0, 0.0)
    return (b.effective_accuracy - y) / (b.row_s - x) if b.row_s > x else inf


def tightest(works: Sequence[Work], *, now: float, free_at: Sequence[float], share: float = 1.0) -> float:
    """The least core-seconds for a row that the deadlines of waiting works leave; infinite without deadlines.

    Up to the deadline of a work all that is ahead of it has to be done, and that work, in this share of the time of
    cores that are free from `free_at` (s) on.
    """
    least, rows, cores = inf, 0, len(free_at)
    opened = sum(max(now, at) for at in free_at)
    latest = max(free_at)
    for work in works:
        rows += work.rows
        deadline = work.deadline
        if deadline >= latest:
            left = cores * deadline - opened if deadline < inf else inf
        else:
            left = sum(max(0.0, deadline - max(now, at)) for at in free_at)
        if left < least * rows:
            least = left / rows
    return share * least


def choose(
    works: Sequence[Work],
    options: Sequence[Option],
    price: Price,
    *,
    now: float,
    free: int,
    cores: float,
    usual_s: float,
) -> Choice | None:
    """The run that is worth most, of those that can begin now on `free` cores; None when no option can run.

    Where none is worth its core time, that is priced too high, and what brings most in a core-second is best: else it
    would be the smallest run, as it loses least. Of what is worth the same the first is best, or without deadlines what
    answers soonest. `works` are of one form, the most urgent first, and `usual_s` is their usual time from arrival to
    deadline, and they may have some `cores` in the long run. All works of a run are answered by a variant that holds
    the floors of all of them.
    """
    best: Choice | None = None
    highest = (-1, 0.0, 0.0)
    patient = works[0].deadline == inf and all(work.deadline == inf for work in works)
    waiting = sum(work.rows for work in works) if patient else 0
    for option in options:
        if option.threads > free:
            continue
        next_s = option.service.turn(usual_s, cores / option.threads)
        for picked, passed in _picks(works, option, next_s, now, patient=patient):
            rows = sum(work.rows for work in picked)
            gain = _right(picked, rows, option, now=now) - price.per_row * rows - option.rung.right * passed
            core_s = option.threads * option.service.mean(rows)
            worth = gain - price.per_core_s * core_s
            after_s = _answered_s(waiting, rows, option, cores) if patient else 0.0
            value = (2, worth) if worth >= 0 else (1, gain / core_s) if gain > 0 else (0, gain)
            score = *value, -after_s
            if score > highest:
                haste = price.per_row * rows * after_s / HASTE_S
                highest, best = score, Choice(option, tuple(picked), rows, worth - haste)
    return best


def _answered_s(waiting: int, rows: int, option: Option, cores: float) -> float:
    """Seconds until a row of those that wait is answered, on average, where all of them have runs of so many rows.

    Lanes take them in waves: those of the k-th one are answered after k runs' time.
    """
    waves = option.threads * waiting / (cores * rows)
    return option.service.median(rows) * max(1.0, (waves + 1) / 2)


def _picks(
    works: Sequence[Work], option: Option, next_s: float, now: float, *, patient: bool
) -> Iterator[tuple[Sequence[Work], int]]:
    """Which works may share a run, and how many rows that a smaller run would save are passed over for them.

    At most as many as leave time for who comes while it runs: first without those that would be late in a run so
    large, who are given up; then as many from the front as are in time, half of those, and the first alone. Of works
    that have no deadlines, as many as wait.
    """
    service, rung = option.service, option.rung
    most = service.most(next_s, rung.max_batch)
    fits = service.most(max(0.0, works[0].deadline - now), most)
    front = first(works, rung, fits)
    if fits < most:
        late = now + service.median(most)
        passed = sum(work.rows for work in front if work.deadline < late)
        yield from ((picked, passed) for picked in (first(works, rung, most, late),) if picked)
    for count in (len(front),) if patient else dict.fromkeys((len(front), len(front) // 2, 1)):
        if 0 < count <= len(front):
            yield front[:count], 0


def first(works: Sequence[Work], rung: Rung, most: int, after: float = -inf) -> list[Work]:
    """The first works that a variant may answer together, of those with deadlines `after` (s)."""
    picked: list[Work] = []
    rows = 0
    for work in works:
        if work.deadline < after:
            continue
        rows += work.rows
        if (rows > most and picked) or not answers(rung, work):
            break
        picked.append(work)
    return picked


def earliest(works: Sequence[Work]) -> float:
    """The first deadline (s) of works in their order, in which a priority comes before a deadline."""
    alike = works[0].priority == works[-1].priority
    return works[0].deadline if alike else min(work.deadline for work in works)


def _right(works: Sequence[Work], rows: int, option: Option, *, now: float) -> float:
    """Right answers in time that a run is expected to give."""
    service = option.service
    chance = service.within(rows, earliest(works) - now)
    if chance >= SURE:
        sure = chance * rows
    else:
        sure = sum(work.rows * service.within(rows, work.deadline - now) for work in works)
    return option.rung.right * sure
