"""How many rows a second will come a second from now: the simple predictor that was best lately; pure.

Load that fluctuates is not predicted well by any one rule: the last value is best for a walk, a mean for noise, a trend
for a ramp. Each is judged by what it would have said a second ago of what came since, and the best of late speaks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

BIN_S = 0.25
"""Rows are counted in quarters of a second: four of them make the horizon, so a ramp shows within it."""

AHEAD = 4
"""Bins to the horizon, a second."""

KEPT = 20
"""Bins that a predictor may look at, five seconds."""

MEMORY = 0.9
"""Weight of a predictor's older errors against the newest: half of it is of the last 1.6 seconds."""


def _mean(counts: Sequence[float]) -> float:
    return sum(counts) / len(counts)


def _trend(counts: Sequence[float]) -> float:
    """The line through the last horizon's counts (least squares), a horizon on; never below 0."""
    newest = counts[-AHEAD:]
    middle = (len(newest) - 1) / 2
    spread = sum((i - middle) ** 2 for i in range(len(newest)))
    slope = sum((i - middle) * count for i, count in enumerate(newest)) / spread if spread else 0.0
    return max(0.0, _mean(newest) + slope * (middle + AHEAD))


PREDICTORS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "last": lambda counts: counts[-1],
    "short": lambda counts: _mean(counts[-AHEAD:]),
    "long": _mean,
    "trend": _trend,
}
"""Name to what a bin a second from now will count, from the counts so far, the newest last."""


class Forecast:
    """One task's arrivals, a second ahead."""

    __slots__ = ("_bin", "_count", "_counts", "_errors", "_said")

    def __init__(self) -> None:
        self._bin: int | None = None
        self._count = 0.0
        self._counts: deque[float] = deque(maxlen=KEPT)
        self._said: deque[Mapping[str, float]] = deque(maxlen=AHEAD)
        """What each predictor said, by bin, the one that is due next first."""
        self._errors = dict.fromkeys(PREDICTORS, 0.0)

    def note(self, now: float, rows: int) -> None:
        """Some rows came at `now` (s)."""
        self._turn(now)
        self._count += rows

    def ahead(self, now: float) -> float:
        """Rows per second, a second from `now` (s); 0 before the first bin is full."""
        self._turn(now)
        return PREDICTORS[self.best](list(self._counts)) / BIN_S if self._counts else 0.0

    @property
    def best(self) -> str:
        """The predictor that has erred least of late; of equals the simplest."""
        return min(self._errors, key=self._errors.__getitem__)

    def _turn(self, now: float) -> None:
        """Close every bin that ended before `now`, empty ones too; beyond what is kept they are all alike."""
        current = int(now // BIN_S)
        if self._bin is None:
            self._bin = current
        for _ in range(min(current - self._bin, KEPT + AHEAD)):
            self._close()
        self._bin = max(self._bin, current)

    def _close(self) -> None:
        if len(self._said) == AHEAD:
            for name, said in self._said.popleft().items():
                self._errors[name] = MEMORY * self._errors[name] + abs(said - self._count)
        self._counts.append(self._count)
        self._count = 0.0
        counts = list(self._counts)
        self._said.append({name: predict(counts) for name, predict in PREDICTORS.items()})
