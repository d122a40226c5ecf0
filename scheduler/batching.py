"""How many rows a run may have: a windowed model of how long runs take; pure, it runs nothing.

Clipper (NSDI '17, section 4.3) adapts the batch size to a latency bound and keeps one queue for each model. Its
released controllers believe the worst latency that they ever saw; here what is believed can shrink as well as grow.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from math import ceil, inf, sqrt

from scheduler.work import Measured

KEPT = 128
"""Runs whose pace is kept: what the neighbours do now."""

SPREAD = 1024
"""Runs whose share of the pace is kept: what one run in a hundred does is the same for longer than the pace is."""

TURN = 5
"""Runs in a row on one side of the band that mean a change: by chance 1 in 1,000 at the quartiles, and the band is
wider than those."""

BAND = 1.25
"""How far from the median a run is on one side of the band: a fifth slower is what `scheduler.drift` looks for, too."""

SLOWEST_LEARNING = 1 / 32
"""The least weight of a run for the curve, so that its shape follows, too."""

LEVEL = 0.95
"""The share of runs within the tail: the usual percentile of an SLO. A rarer one would be set by pauses of the machine,
which smaller batches do not avoid."""

TAIL = 1.2
"""The tail over the median before anything is known of it."""

CLIP = 2.0
"""How far off a run may be for the curve: a pause of the machine is no news of the shape."""

SELDOM = 8
"""Of so many times that nothing ran, one makes the spread a little more like the usual one: it lasts longer."""

PROFILED = 20
"""Runs that a profile counts for."""

HEAVY = 0.1
"""How far the mean is from the median towards the tail before anything is known of it."""

TICK_S = 1e-9
"""Least time of a run: a clock that stood still would make all later runs infinitely slower."""

NEWS = 1 / 16
"""The weight of the newest run in what comes on top of runs."""

HOP_S = 0.1e-3
"""What comes on top of a run where nothing is known of it yet, at most: to a thread and back."""

LEAST_RUN = 1.25
"""Times the tail of one row that a run may take in any case: where that alone is too long for who comes meanwhile,
smaller runs help nobody, and somewhat larger ones serve more."""

AGAIN = 2
"""What ran n times may be tried again when it was not chosen for this to the power of n fades: a few runs may have been
slow for reasons that are gone, and nothing else would ever show it."""

OFTEN = 20
"""Runs from which on that would be most of a day away."""

REACH = 2
"""How far beyond the largest batch that ran a model is trusted: twice as large."""


class Service:
    """How long runs of one variant on some threads take, by rows: a curve through powers of two, and a pace.

    The curve's shape changes slowly, the pace (what recent runs took over the curve's) at once: all batch sizes are
    slowed by the same neighbours. The tail is the pace's own. What a core is kept from the next run for beyond the run
    itself (handing it to a thread and back, who else wants the interpreter) comes on top, whatever the rows.
    """

    __slots__ = (
        "_at",
        "_gauge",
        "_idle",
        "_knots",
        "_lately",
        "_mean",
        "_newest",
        "_overhead",
        "_pace",
        "_settled",
        "_sorted",
        "_spread",
        "_sum",
        "_tail",
        "_usual",
        "_weight",
        "largest",
        "runs",
    )

    def __init__(self, measured: Measured = ()) -> None:
        self._at: list[int] = [rows for rows, _, _ in measured]
        self._knots: list[float] = [max(TICK_S, median) for _, median, _ in measured]
        self._weight: list[float] = [float(KEPT)] * len(measured)
        self._pace = 1.0
        ratios = sorted(tail / median for _, median, tail in measured if median > 0)
        self._tail = max(1.0, ratios[len(ratios) // 2]) if ratios else TAIL
        self._settled = self._tail
        self._mean = 1.0 + HEAVY * (self._tail - 1.0)
        self._usual = _spread(self._tail)
        # A profile counts as some runs: else the first one, were it a slow one, would be all that is known.
        self._newest: deque[float] = deque(self._usual if measured else ())
        self._sorted: list[float] = sorted(self._newest)
        self._sum = sum(self._sorted)
        self._lately: deque[float] = deque(self._newest)
        self._spread: list[float] = list(self._sorted)
        self._idle = 0
        self._gauge = 1.0
        self._overhead = 0.0
        self.largest = self._at[-1] if self._at else 0
        """Most rows of a run so far, or of the profile."""
        self.runs = 0

    @property
    def known(self) -> bool:
        """Whether anything was measured or run."""
        return bool(self._at)

    @property
    def overhead_s(self) -> float:
        """Seconds that come on top of a run."""
        return self._overhead

    def alone(self, rows: int) -> float:
        """Seconds that half of the runs of so many rows take by themselves; 0 when nothing is known."""
        return self._curve(rows) * self._pace

    def median(self, rows: int) -> float:
        """Seconds that half of the runs of so many rows are done in; 0 when nothing is known."""
        return self._curve(rows) * self._pace + self._overhead

    def mean(self, rows: int) -> float:
        """Seconds that runs of so many rows take of a core's time on average; 0 when nothing is known."""
        return self._curve(rows) * self._mean + self._overhead

    def tail(self, rows: int) -> float:
        """Seconds that LEVEL of the runs of so many rows are done in; 0 when nothing is known."""
        return self._curve(rows) * self._pace * self._tail + self._overhead

    def within(self, rows: int, seconds: float) -> float:
        """P(a run of so many rows is done in `seconds`); 1 when nothing is known."""
        curve = self._curve(rows)
        if curve <= 0:
            return 1.0
        ratio = (seconds - self._overhead) / (curve * self._pace)
        if len(self._spread) < TURN * 2:
            # Half at the median, LEVEL at the tail, nothing much below the first and nearly all beyond the second.
            if ratio >= self._tail:
                return 1.0
            return 0.5 + (LEVEL - 0.5) * (ratio - 1) / (self._tail - 1) if ratio >= 1.0 else 0.0
        return bisect_right(self._spread, ratio) / len(self._spread)

    def most(self, seconds: float, limit: int) -> int:
        """The most rows that LEVEL of the runs do in `seconds`, from 1 to `limit`, as far as the curve is trusted."""
        return self.foreseen(seconds, min(limit, self.reach))

    def foreseen(self, seconds: float, limit: int) -> int:
        """What `most` says once larger runs have shown that the curve goes on as it does."""
        if seconds == inf or not self._at:
            return max(1, limit)
        return max(1, int(min(limit, self._inverse((seconds - self._overhead) / (self._pace * self._tail)))))

    def efficient(self, most: int) -> int:
        """The rows, up to `most`, with the least time for each: caches may make larger runs slower by the row."""
        best, least = most, self.mean(most) / most
        for rows, knot in zip(self._at, self._knots, strict=True):
            if rows >= most:
                break
            row_s = (knot * self._mean + self._overhead) / rows
            if row_s < least:
                best, least = rows, row_s
        return best

    def turn(self, patience_s: float, lanes: float) -> float:
        """Seconds that a run may take where `lanes` of them go on at once: `turn`, and enough for a row in any case."""
        return max(turn(patience_s, lanes), LEAST_RUN * self.tail(1))

    def _inverse(self, seconds: float) -> float:
        """The rows at which the curve takes so long; along its last two knots beyond them."""
        at, knots = self._at, self._knots
        # Not by bisection: what is measured need not rise everywhere.
        i = next((j + 1 for j in range(len(at) - 1, -1, -1) if knots[j] <= seconds), 0)
        if i == 0:
            return at[0] * seconds / knots[0] if len(at) == 1 else 0.0
        if i == len(at):
            if i == 1:
                return at[0] * seconds / knots[0] if knots[0] > 0 else inf
            low, high = i - 2, i - 1
        else:
            low, high = i - 1, i
        slope = (knots[high] - knots[low]) / (at[high] - at[low])
        return at[high] + (seconds - knots[high]) / slope if slope > 0 else inf

    @property
    def reach(self) -> int:
        """Most rows that the curve is trusted for."""
        return max(1, REACH * self.largest)

    def fade(self, *, again: bool = False) -> None:
        """Some time passed: where nothing ran meanwhile, believe a little more in the usual pace.

        What looks slow is not chosen, and nothing else would ever show that it recovered. What may be tried `again` is
        as good as unknown after a while.
        """
        if self._idle and self._newest:
            usual = self._usual[self._idle % PROFILED]
            self._note(self._gauge * usual)
            if self._idle % SELDOM == 0:
                self._note_spread(usual)
            self._update()
        self._idle += 1
        if again and self._at and self.runs < OFTEN and self._idle > AGAIN**self.runs:
            self._forget()

    def top(self, overhead_s: float) -> None:
        """So much came on top of a run of something else, which is all that is known of it until one runs."""
        if not self.runs:
            self._overhead = overhead_s

    def observe(self, rows: int, seconds: float, overhead_s: float | None = None) -> None:
        """A run of so many rows took so long, and kept its core so much longer, if that is known."""
        self.runs += 1
        if overhead_s is not None:  # a pause of the machine is none of it
            self._overhead += NEWS * (min(overhead_s, CLIP * self._overhead + HOP_S) - self._overhead)
        seconds = max(TICK_S, seconds)
        self._idle = 0
        before = self._gauge
        expected = self._learn(rows, seconds)
        self.largest = max(self.largest, rows)
        self._note(before * seconds / expected if expected > 0 else before)
        self._note_spread(seconds / (expected * self._pace) if expected > 0 else 1.0)
        self._forget_if_changed()
        self._update()
        if not 1 / CLIP < self._gauge < CLIP:
            self._newest = deque(ratio / self._gauge for ratio in self._newest)
            self._sorted = sorted(self._newest)
            self._sum = sum(self._sorted)
            self._gauge = 1.0

    def _forget(self) -> None:
        """Know nothing but how often it ran, how runs spread, and what comes on top of them."""
        for known in (self._at, self._knots, self._weight, self._newest, self._sorted, self._lately, self._spread):
            known.clear()
        self._pace = self._gauge = 1.0
        self._sum, self.largest = 0.0, 0

    def _note(self, ratio: float) -> None:
        self._newest.append(ratio)
        insort(self._sorted, ratio)
        self._sum += ratio
        if len(self._newest) > KEPT:
            oldest = self._newest.popleft()
            del self._sorted[bisect_left(self._sorted, oldest)]
            self._sum -= oldest

    def _note_spread(self, share: float) -> None:
        self._lately.append(share)
        insort(self._spread, share)
        if len(self._lately) > SPREAD:
            del self._spread[bisect_left(self._spread, self._lately.popleft())]

    def _forget_if_changed(self) -> None:
        if len(self._newest) <= TURN:
            return
        newest = [self._newest[i] for i in range(-TURN, 0)]
        usual = self._pace * self._gauge
        if min(newest) > usual * BAND or max(newest) < usual / BAND:
            self._newest = deque(newest)
            self._sorted = sorted(newest)
            self._sum = sum(newest)
            for _ in newest[: len(self._lately)]:  # which are no part of how runs spread around their pace
                del self._spread[bisect_left(self._spread, self._lately.pop())]

    def _update(self) -> None:
        count = len(self._sorted)
        middle = self._sorted[count // 2]
        self._pace = middle / self._gauge
        self._mean = self._sum / count / self._gauge
        tail = max(1.0, self._sorted[ceil(count * LEVEL) - 1] / middle)
        if count >= KEPT // 2:
            self._tail = self._settled = tail
        elif count >= TURN:
            # A tail from few runs would be their worst; what was settled before counts for the runs that are missing.
            self._tail = self._settled + (tail - self._settled) * count / (KEPT // 2)

    def _learn(self, rows: int, seconds: float) -> float:
        """Move the curve towards a run; what it said of the run before."""
        at, knots, weights = self._at, self._knots, self._weight
        knot = 1 << (rows - 1).bit_length()
        expected = self._curve(rows) if at else 0.0
        i = bisect_left(at, knot)
        if i == len(at) or at[i] != knot:
            # What is new at this size enters as it is, scaled to the knot along the curve.
            value = seconds / self._pace * (self._curve(knot) / expected if expected > 0 else knot / rows)
            at.insert(i, knot)
            knots.insert(i, value)
            weights.insert(i, 1.0)
            return expected or value
        weights[i] = min(weights[i] + 1.0, 1 / SLOWEST_LEARNING)
        off = seconds / expected if expected > 0 else 1.0
        step = 1.0 + (min(max(off, 1 / CLIP), CLIP) - 1.0) / weights[i]
        # Half of it (of its logarithm) is taken for news of all sizes; paces that are kept are of the old curve.
        for j in range(len(knots)):
            knots[j] *= step if j == i else sqrt(step)
        self._gauge *= step
        return expected

    def _curve(self, rows: int) -> float:
        at, knots = self._at, self._knots
        if not at:
            return 0.0
        i = bisect_left(at, rows)
        if i == 0:
            return knots[0]
        if i == len(at):
            if i == 1:
                return knots[0] * rows / at[0]
            slope = max(0.0, (knots[-1] - knots[-2]) / (at[-1] - at[-2]))
            return knots[-1] + slope * (rows - at[-1])
        low, high = at[i - 1], at[i]
        return knots[i - 1] + (knots[i] - knots[i - 1]) * (rows - low) / (high - low)


def _spread(tail: float) -> list[float]:
    """PROFILED paces whose median is 1 and whose tail is as given, in an order in which any few are like all."""
    levels = [(7 * i % PROFILED + 0.5) / PROFILED for i in range(PROFILED)]
    return [1.0 + (tail - 1.0) * (max(0.0, level - 0.5) / (LEVEL - 0.5)) ** 2 for level in levels]


def turn(patience_s: float, lanes: float) -> float:
    """Seconds that a run may take for who comes meanwhile to be in time, too, where `lanes` runs go on at once.

    Who comes waits for one of the c runs that go on to end, and then for its own: at most c / (c + 1) of its patience
    for one run. Less than one lane is a share of one: who comes waits for other tasks' runs, too.
    """
    return patience_s * lanes / (lanes + 1)


def pays_to_wait(service: Service, rows: int, gap_s: float) -> bool:
    """Whether to hold a run of `rows` back for the next row, expected in `gap_s`, on the last free lane.

    Run at once, and the next row waits for this run to end; hold back, and these rows wait for the next one. It pays
    when the first costs more seconds in total: S(n) - g + S(1) > S(n + 1) + n (g + S(n + 1) - S(n)).
    """
    if not service.known or gap_s <= 0:
        return False
    alone, now, joined = service.median(1), service.median(rows), service.median(rows + 1)
    return now - gap_s + alone > joined + rows * (gap_s + joined - now)
