"""A variant's accuracy after judgements: its evaluation and its last judged rows, weighed; keeps nothing, asks nobody.

While the judged rows agree with the evaluation the two are pooled. Once they contradict it beyond chance the world has
moved on (concept drift), and they alone count, so that the estimate follows; when later rows agree again, the two are
pooled again. Within the judged rows, too, what is older than a change is forgotten, as ADWIN does (Bifet and Gavaldà
2007, section 3): recent rows are compared with those before them at a few cuts, and the change is looked for where they
differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from optimizer.accuracy import METRICS, Z95, Answers, right_rows, share
from optimizer.errors import InvalidEvaluation
from registry.model import Accuracy

V = TypeVar("V", bound=np.generic)

WINDOW = 512
"""Most judged rows that count: they hold a share of 0.9 to within 2.6 points, and no more is kept of any variant."""

CUTS = (256, 128, 64, 32, 16)
"""Recent rows that are compared with the older ones, longest first."""

ENOUGH = CUTS[-1]
"""Fewest judged rows that may overrule an evaluation."""

ENOUGH_PAIRS = 32
"""Fewest judged rows from which a metric other than a share is worked out: below, its bootstrap is too narrow."""

LEVEL = 0.001
"""Significance of each test. With a look after every row, 500 rows on which nothing has changed are taken for drift in
one run of twenty; a fall from 0.97 to 0.6 is seen after some 13 rows, one to 0.85 after some 85."""

Z_LEVEL = 3.2905267
"""The standard normal's quantile at 1 − LEVEL / 2."""


@dataclass(frozen=True, slots=True)
class Reestimate:
    """An accuracy after judgements."""

    accuracy: Accuracy
    drifted: bool
    """Whether the judged rows contradict the evaluation, and count alone."""


class Judged(Protocol):
    """The last judged rows of one variant, oldest first."""

    @property
    def rows(self) -> int:
        """How many there are."""

    def after(self, given: Answers, right: Answers) -> Judged:
        """With rows added, and without those that are too old or from before a change."""

    def reestimate(self, evaluation: Accuracy, generator: np.random.Generator) -> Reestimate:
        """The variant's accuracy, given what it was before any of these rows."""


@dataclass(frozen=True, slots=True)
class Hits:
    """Rows that are right or wrong, for a metric that is the share of right ones."""

    hits: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.hits)

    def after(self, given: Answers, right: Answers) -> Hits:
        """With rows added; see Judged."""
        hits = np.concatenate([self.hits, right_rows(given, right)])[-WINDOW:]
        return Hits(_since_change(hits, lambda old, new: shares_differ(*_counts(old), *_counts(new))))

    def reestimate(self, evaluation: Accuracy, _generator: np.random.Generator) -> Reestimate:
        """The share of right rows among these and the evaluation's, or among these alone; with Wilson's interval."""
        if not self.rows:
            return Reestimate(evaluation, False)
        right, rows = _counts(self.hits)
        known, of = round(evaluation.value * evaluation.rows), evaluation.rows
        if rows >= ENOUGH and shares_differ(right, rows, known, of):
            return Reestimate(share(right, rows), True)
        return Reestimate(share(known + right, of + rows), False)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Given and right answers, for a metric of optimizer.accuracy that is worked out over many rows at once."""

    metric: str
    given: Answers | None = None
    right: Answers | None = None

    @property
    def rows(self) -> int:
        """How many there are."""
        return 0 if self.right is None else len(self.right)

    def after(self, given: Answers, right: Answers) -> Pairs:
        """With rows added; see Judged. A change is one of the absolute errors, or of a row's shape."""
        if self.given is not None and self.right is not None and self.right.shape[1:] == right.shape[1:]:
            given, right = np.concatenate([self.given, given]), np.concatenate([self.right, right])
        given, right = given[-WINDOW:], right[-WINDOW:]
        errors = np.abs(given.astype(np.float64) - right.astype(np.float64)).reshape(len(right), -1).mean(axis=1)
        kept = len(_since_change(errors, ranks_differ))
        return replace(self, given=given[-kept:], right=right[-kept:])

    def reestimate(self, evaluation: Accuracy, generator: np.random.Generator) -> Reestimate:
        """The metric over these rows and the evaluation's value, weighed by rows, or over these rows alone.

        The interval of the mean has MOVER's limits: distances from each estimate to its own limit, added as squares
        (Zou and Donner 2008, equation 2). The evaluation stands while there are fewer than ENOUGH_PAIRS rows, or
        rows of which nothing can be said (one right answer only).
        """
        if self.given is None or self.right is None or self.rows < ENOUGH_PAIRS:
            return Reestimate(evaluation, False)
        try:
            recent = METRICS[self.metric](self.given, self.right, generator)
        except InvalidEvaluation:
            return Reestimate(evaluation, False)
        if _apart(recent, evaluation):
            return Reestimate(recent, True)
        return Reestimate(_weighed(evaluation, recent), False)


KINDS: Mapping[str, Callable[[], Judged]] = MappingProxyType(
    {"accuracy": Hits, "rmse_skill": lambda: Pairs("rmse_skill")}
)
"""Metric to what is kept of judged rows; every metric of optimizer.accuracy has an entry."""


def judged(metric: str, answers: Iterable[tuple[Answers, Answers]]) -> Judged:
    """What is kept of given and right answers in this order, oldest first: the same for the same ones, whoever asks.

    They are looked at in steps of some ENOUGH rows, for a look after every row would cost ENOUGH times as much.
    """
    found, step = KINDS[metric](), _Step()
    for given, right in answers:
        if step.rows >= ENOUGH or not step.takes(right):
            found, step = step.added_to(found), _Step()
        step.parts.append((given, right))
    return step.added_to(found)


@dataclass(slots=True)
class _Step:
    """Rows that are looked at together."""

    parts: list[tuple[Answers, Answers]] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(len(right) for _, right in self.parts)

    def takes(self, right: Answers) -> bool:
        return not self.parts or self.parts[0][1].shape[1:] == right.shape[1:]

    def added_to(self, found: Judged) -> Judged:
        if not self.parts:
            return found
        given, right = (np.concatenate(part) for part in zip(*self.parts, strict=True))
        return found.after(given, right)


def shares_differ(right: int, rows: int, other_right: int, other_rows: int) -> bool:
    """Whether two shares differ beyond chance, by Fisher's exact test at LEVEL, the smaller tail doubled.

    Exact, since near a share of 1 the normal approximation sees drift in a single wrong row (Fisher 1935).
    """
    if right * other_rows > other_right * rows:  # the other tail is this one of the wrong rows
        right, other_right = rows - right, other_rows - other_right
    total = right + other_right
    least = max(0, total - other_rows)
    first = math.exp(
        _log_choose(rows, right) + _log_choose(other_rows, other_right) - _log_choose(rows + other_rows, total)
    )
    x = np.arange(right, least, -1, dtype=np.float64)
    ratios = x * (other_rows - total + x) / ((rows - x + 1) * (total - x + 1))
    return 2 * first * (1 + float(np.cumprod(ratios).sum())) < LEVEL


def ranks_differ(old: NDArray[np.float64], new: NDArray[np.float64]) -> bool:
    """Whether the values of two samples differ beyond chance, by the rank-sum test at LEVEL (Mann and Whitney 1947)."""
    m, n = len(old), len(new)
    ordered = np.sort(old)
    wins = np.searchsorted(ordered, new, "left") + np.searchsorted(ordered, new, "right")
    u = float(wins.sum()) / 2
    spread = math.sqrt(m * n * (m + n + 1) / 12)
    return abs(u - m * n / 2) > Z_LEVEL * spread


def _since_change(values: NDArray[V], differ: Callable[[NDArray[V], NDArray[V]], bool]) -> NDArray[V]:
    """The rows since the last change; all of them when none is seen."""
    for cut in CUTS:
        if len(values) >= cut + ENOUGH and differ(values[:-cut], values[-cut:]):
            values = values[_change(values) :]
    return values


def _change(values: NDArray[V]) -> int:
    """Where the mean ranks before and after are furthest apart, by their distance's own spread (after Pettitt 1979)."""
    n = len(values)
    before = np.arange(1, n)
    ordered = np.sort(values)
    ranks = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    sums = np.cumsum(ranks)[:-1].astype(np.float64)
    apart = np.abs(sums / before - (ranks.sum() - sums) / (n - before)) * np.sqrt(before * (n - before))
    return int(np.argmax(apart)) + 1


def _counts(hits: NDArray[np.bool_]) -> tuple[int, int]:
    return int(hits.sum()), len(hits)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _apart(a: Accuracy, b: Accuracy) -> bool:
    """Whether two estimates differ at LEVEL; standard errors are read from the 95 % limits that face each other."""
    low, high = sorted((a, b), key=lambda accuracy: accuracy.value)
    error = math.hypot(high.value - high.low, low.high - low.value) / Z95
    return high.value - low.value > Z_LEVEL * error


def _weighed(a: Accuracy, b: Accuracy) -> Accuracy:
    rows = a.rows + b.rows
    mine, other = a.rows / rows, b.rows / rows
    value = mine * a.value + other * b.value
    down = math.hypot(mine * (a.value - a.low), other * (b.value - b.low))
    up = math.hypot(mine * (a.high - a.value), other * (b.high - b.value))
    return Accuracy(value, max(0.0, value - down), min(1.0, value + up), rows, b.method)
