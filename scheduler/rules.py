"""The named rules for how many rows a run of one variant has: ours, and those that others released; pure.

The rules of Clipper are as its papers and its releases have them (Crankshaw et al., NSDI '17, section 4.3), but for the
copies of the last query with which release 0.4 fills up a batch that explores: a queue that is never empty needs none.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from scheduler.batching import Service

SPLIT_FROM_S = 1e-3
"""Runs that take less are not split between free cores: waking another thread takes some 50 µs."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a run may use up."""

    left_s: float
    """Until the deadline of its most urgent work; may be infinite."""
    patience_s: float
    """From arrival to deadline, as it is usual; may be infinite."""
    lanes: int
    """Runs that go on at once when all cores are taken."""
    free: int
    """Of these, how many could begin now."""
    waiting: int
    """Rows that wait."""
    limit: int
    """Most rows that a run takes."""


class Rule(Protocol):
    """How many rows the next run of one variant has."""

    def most(self, room: Room) -> int:
        """The most rows, from 1 to the limit."""

    def observe(self, rows: int, took_s: float, left_s: float) -> None:
        """A run of so many rows took so long; its most urgent work had `left_s` seconds when it began."""


class Adaptive:
    """As many rows as the windowed model of the tail expects in time, and no more than leaves time for who comes next.

    What waits is shared between the cores that are free.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def most(self, room: Room) -> int:
        """See Rule."""
        service = self._service
        most = service.most(min(room.left_s, service.turn(room.patience_s, room.lanes)), room.limit)
        share = -(-room.waiting // max(1, room.free))
        split = share < most and service.median(min(most, room.waiting)) >= SPLIT_FROM_S
        return max(1, share) if split else most

    def observe(self, rows: int, took_s: float, left_s: float) -> None:
        """Nothing: the station tells the model of every run."""


class Fixed:
    """Always the same, as operators set it by hand; 1 is no batching."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def most(self, room: Room) -> int:
        """See Rule."""
        return min(self._rows, room.limit)

    def observe(self, rows: int, took_s: float, left_s: float) -> None:
        """Nothing."""


class Aimd:
    """Additive increase, multiplicative decrease (Clipper, section 4.3.1): the paper's own.

    One row more after each full run in time, a tenth fewer after one that is late.
    """

    STEP, BACK_OFF = 1.0, 0.9

    def __init__(self) -> None:
        self._rows = 1.0

    def most(self, room: Room) -> int:
        """See Rule."""
        return max(1, min(int(self._rows), room.limit))

    def observe(self, rows: int, took_s: float, left_s: float) -> None:
        """See Rule."""
        if took_s > left_s:
            self._rows = max(1.0, self._rows * self.BACK_OFF)
        elif rows >= int(self._rows):
            self._rows += self.STEP


class Throughput:
    """Clipper's releases 0.1 and 0.2: mean throughput of the newest runs × the time left."""

    NEWEST = 100

    def __init__(self) -> None:
        self._newest: deque[float] = deque(maxlen=self.NEWEST)

    def most(self, room: Room) -> int:
        """See Rule."""
        if not self._newest:
            return 1
        mean = sum(self._newest) / len(self._newest)
        return _clip(mean * max(room.left_s, 0.0), room.limit)

    def observe(self, rows: int, took_s: float, left_s: float) -> None:
        """See Rule."""
        if took_s > 0:
            self._newest.append(rows / took_s)


class Regression:
    """Clipper's releases 0.3 and 0.4: explore while the time left is more than the worst run ever, else regress.

    The budget is 0.92 of the time left. Exploring adds a row up to 10, then grows by a normal share of mean 10 % and
    deviation 5 %, once five runs had the largest size so far. Estimating is a ridge regression of the batch size on the
    99th percentile of sizes with five runs or more: mean + 3 pooled standard deviations. The worst latency never
    shrinks: an outlier ends exploration for good.
    """

    BUDGET, ADDITIVE, ENOUGH, DEVIATIONS, RIDGE = 0.92, 10, 5, 3.0, 1.0

    def __init__(self, gauss: Callable[[], float]) -> None:
        """`gauss` draws from the standard normal distribution."""
        self._gauss = gauss
        self._runs: dict[int, deque[float]] = defaultdict(lambda: deque(maxlen=Throughput.NEWEST))
        self._largest = 1
        self._worst = 0.0

    def most(self, room: Room) -> int:
        """See Rule."""
        budget = self.BUDGET * max(room.left_s, 0.0)
        rows = self._explored() if budget > self._worst else self._estimated(budget)
        return _clip(rows, room.limit)

    def observe(self, rows: int, took_s: float, left_s: float) -> None:
        """See Rule."""
        self._runs[rows].append(took_s)
        self._largest = max(self._largest, rows)
        self._worst = max(self._worst, took_s)

    def _explored(self) -> float:
        if len(self._runs[self._largest]) < self.ENOUGH:
            return self._largest
        if self._largest < self.ADDITIVE:
            return self._largest + 1
        return self._largest * (1 + max(0.0, 0.1 + 0.05 * self._gauss()))

    def _estimated(self, budget: float) -> float:
        known = {rows: times for rows, times in self._runs.items() if len(times) >= self.ENOUGH}
        if not known:
            return 1.0
        means = {rows: sum(times) / len(times) for rows, times in known.items()}
        squares = sum(sum((t - means[rows]) * (t - means[rows]) for t in times) for rows, times in known.items())
        freedom = sum(len(times) - 1 for times in known.values())
        spread = self.DEVIATIONS * math.sqrt(squares / freedom)
        points: list[tuple[float, float]] = [(means[rows] + spread, float(rows)) for rows in known]
        x0 = sum(x for x, _ in points) / len(points)
        y0 = sum(y for _, y in points) / len(points)
        # Latencies are scaled to milliseconds, so that the ridge is as released.
        covariance = sum((x - x0) * 1e3 * (y - y0) for x, y in points)
        variance = sum((x - x0) * (x - x0) for x, _ in points) * 1e6
        return y0 + covariance / (variance + self.RIDGE) * (budget - x0) * 1e3


def _clip(rows: float, limit: int) -> int:
    return limit if rows >= limit else max(1, int(rows))


RULES: Mapping[str, Callable[[Service, Callable[[], float]], Rule]] = {
    "modelless": lambda service, gauss: Adaptive(service),
    "none": lambda service, gauss: Fixed(1),
    "aimd": lambda service, gauss: Aimd(),
    "clipper_v1": lambda service, gauss: Throughput(),
    "clipper_v4": lambda service, gauss: Regression(gauss),
}
"""Name to what makes a rule for one variant, from what is known of its runs and a source of normal draws.

`static:N` is Fixed(N) (see `rule_named`)."""

STATIC = "static:"


def rule_named(name: str) -> Callable[[Service, Callable[[], float]], Rule]:
    """What makes a rule of this name; raises ValueError naming those there are."""
    rows = name.removeprefix(STATIC)
    if name.startswith(STATIC) and rows.isdecimal() and int(rows) > 0:
        return lambda service, gauss: Fixed(int(rows))
    if name not in RULES:
        raise ValueError(f"batching: {name!r} is no rule; use one of {', '.join(RULES)}, or {STATIC}ROWS")
    return RULES[name]
