"""Policies on histograms of idle times: the hybrid one (ATC'20) and INFless's long and short one; pure.

The idle time is from one request's end to the next request. Requests take no time here, so an idle time of whole
minutes is a little less than that where they do: bins are (i, i + 1], and five minutes fall in (4, 5].
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from simulator.keepalive.policy import EventDriven, Plans
from simulator.traces import Ints

RANGE = 240
"""Bins of a minute: four hours (ATC'20, section 4.2)."""

HEAD, TAIL = 0.05, 0.99
"""Percentiles for the pre-warming and the keep-alive window, rounded to the bin's lower or upper edge (section 4.2)."""

MARGIN = 0.1
"""By which the windows begin earlier and end later (section 4.2)."""

REPRESENTATIVE = 2.0
"""Least coefficient of variation of the bins' counts for the histogram to be trusted (section 4.2)."""

OUT_OF_BOUNDS = 0.5
"""Share of idle times beyond the range from which the histogram gives way to a forecast (section 4.2)."""

FORECAST_MARGIN = 0.15
"""On both sides of a forecast idle time (section 4.2)."""

ENOUGH = 4
"""Idle times that an autoregression of first order is fitted to at least; the mean has to do before."""

LONG_MIN, SHORT_MIN, LONG_WEIGHT = 1440.0, 60.0, 0.5
"""INFless (ASPLOS'22): a day, an hour, and the weight of the former's windows, which is a setting there."""


def windows(bins: Ints) -> tuple[int, int]:
    """Return (head, tail) in minutes of a histogram that is not empty."""
    below = np.cumsum(bins)
    head, tail = np.searchsorted(below, (HEAD * below[-1], TAIL * below[-1]))
    return int(head), int(tail) + 1


def next_idle(idle: Sequence[float]) -> float:
    """Forecast the next idle time (minutes), one step ahead.

    The paper fits an ARIMA model that it searches for (`auto_arima`); this is its first-order autoregressive part by
    least squares, within the range of what was seen, and the mean until there are ENOUGH.
    """
    seen = np.asarray(idle)
    if len(seen) < ENOUGH:
        return float(seen.mean())
    before = np.column_stack((np.ones(len(seen) - 1), seen[:-1]))
    (constant, slope), *_ = np.linalg.lstsq(before, seen[1:], rcond=None)
    return float(np.clip(constant + slope * seen[-1], seen.min(), seen.max()))


@dataclass(slots=True)
class _Seen:
    """Idle times of one application."""

    last: float
    idle: list[float] = field(default_factory=list)
    bins: Ints = field(default_factory=lambda: np.zeros(RANGE, dtype=np.int64))
    within: int = 0
    """Idle times in `bins`; the others are out of bounds."""
    squares: int = 0
    """Sum of the bins' squared counts."""

    def note(self, now: float) -> None:
        idle = now - self.last
        self.last = now
        self.idle.append(idle)
        if idle <= RANGE:
            place = _bin(idle)
            self.within += 1
            self.squares += 2 * int(self.bins[place]) + 1
            self.bins[place] += 1

    @property
    def representative(self) -> bool:
        """Whether the counts vary enough: few idle times are many times as frequent as the others."""
        return RANGE * self.squares >= (1.0 + REPRESENTATIVE**2) * self.within**2


def _bin(idle: float) -> int:
    return max(0, math.ceil(idle) - 1)


def _between(now: float, head: float, tail: float) -> tuple[tuple[float, float]]:
    return ((now + (1 - MARGIN) * head, now + (1 + MARGIN) * tail),)


class HybridHistogram(EventDriven):
    """Shahrad et al., Serverless in the Wild (ATC'20, section 4.2)."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def asked(self, application: str, now: float) -> Plans:
        """Warm from the pre-warming window on, as long as the keep-alive window."""
        seen = self._seen.get(application)
        if seen is None:
            seen = self._seen[application] = _Seen(now)
        else:
            seen.note(now)
        return {application: _planned(seen, now)}


def _planned(seen: _Seen, now: float) -> tuple[tuple[float, float]]:
    beyond = len(seen.idle) - seen.within
    if beyond and beyond >= OUT_OF_BOUNDS * len(seen.idle):
        expected = next_idle(seen.idle)
        return ((now + (1 - FORECAST_MARGIN) * expected, now + (1 + FORECAST_MARGIN) * expected),)
    if seen.within and seen.representative:
        return _between(now, *windows(seen.bins))
    return ((now, now + RANGE),)


class LongShort(EventDriven):
    """Long-short term histogram of INFless (ASPLOS'22): windows of the last day's and the last hour's
    idle times, averaged; with the percentiles, the range and the margins of the hybrid histogram.
    """

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._long: defaultdict[str, _Recent] = defaultdict(lambda: _Recent(LONG_MIN))
        self._short: defaultdict[str, _Recent] = defaultdict(lambda: _Recent(SHORT_MIN))

    def asked(self, application: str, now: float) -> Plans:
        """Warm between the averaged windows; the whole range before any idle time is known."""
        long, short = self._long[application], self._short[application]
        if application in self._last:
            for recent in (long, short):
                recent.note(now, now - self._last[application])
        self._last[application] = now
        if not len(long):
            return {application: ((now, now + RANGE),)}
        day, hour = windows(long.bins), windows(short.bins if len(short) else long.bins)
        head, tail = (LONG_WEIGHT * a + (1 - LONG_WEIGHT) * b for a, b in zip(day, hour, strict=True))
        return {application: _between(now, head, tail)}


class _Recent:
    """A histogram of the idle times that ended within the last minutes; one beyond the range counts as the longest."""

    __slots__ = ("_ended", "_minutes", "bins")

    def __init__(self, minutes: float) -> None:
        self._minutes = minutes
        self._ended: deque[tuple[float, int]] = deque()
        self.bins = np.zeros(RANGE, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ended)

    def note(self, now: float, idle: float) -> None:
        place = min(_bin(idle), RANGE - 1)
        self._ended.append((now, place))
        self.bins[place] += 1
        while self._ended[0][0] < now - self._minutes:
            self.bins[self._ended.popleft()[1]] -= 1
