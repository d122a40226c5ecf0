"""How likely each task is to be asked for in the next minute, from the minutes in which any was; pure.

What comes back does so in several ways at once: some time after it was last asked for (an idle-time histogram, Shahrad
et al., ATC '20, section 4.2), at its minute of the hour or day (a timer), or as often as of late. None of these is best
for all tasks, nor for one task always. So each is a *context* that counts how often the task was asked for when things
stood like this, and a gated logistic mixture weighs what they say, each weight following the gradient of the loss of
the last minutes (Mahoney, Adaptive Weighing of Context Models, 2005, section 3.3; Veness et al., Gated Linear Networks,
AAAI '21, section 3). Contexts come in two kinds: a task's own, and those of all tasks together, which speak for a task
that has no past yet.

A minute is a period of the caller's choice; it is called so because that is what it mostly is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scheduler.quantiles import Floats

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

HOUR, DAY = 60, 1440
"""In minutes: the periods at which a task is looked for again."""

LONGEST = 241
"""Minutes since the last time that are told apart; four hours, as ATC '20 has it, and one more for all beyond."""

LAGS = (5, 10, 15, 20, 30, HOUR)
"""The periods of most timers, in minutes."""

SHARED, SHARED_SIZE = 4, 1 << 16
"""Contexts of all tasks together, and cells of each one's table; values beyond that share them."""

OWN_SIZES = (LONGEST + 1, 1 << 10, 1 << 8, 1 << 10, HOUR, 3 << len(LAGS))
"""Cells of each context's table of one task, 22 kB in all: every value has its own, but for two contexts with many."""

KEPT = 60.0
"""Times that a cell of a task's own remembers: older ones fade, so that a task may change its ways."""

DOUBT = 1.5
"""Times that a cell must have been met for what it says to count for half of its full weight."""

RARE = 0.02
"""What a cell says that was never met: a task is asked for in few of all minutes."""

PRIOR = 0.4
"""How many times that counts for; a Krichevsky-Trofimov estimator has 1 in all, and is slower to be sure."""

RATES = (0.3, 0.1, 0.02)
"""Smoothing of the recent rates: half of their weight is of the last 2, 7 and 34 minutes."""

GATES = GAP_GATES, RATE_GATES, AGE_GATES = 9, 13, 12
"""Sets of weights by the time since a task was last asked for, by its rate, and by how long it has been known; there
are as many again for the minutes about a day after it was."""

LEARNING = 0.003
"""Step of the mixture's weights (benchmarks.keepalive: 0.002 to 0.005 are alike)."""

FIRST_WEIGHT, FIRST_RATE_WEIGHT = 0.15, 0.05
"""Weights before anything is learnt: ten contexts that agree are believed once and a half."""

YESTERDAY = 0.7
"""First weight of what came of it a day later where a task was asked for a day ago: all else, which has seen a day of
silence, is heard with a hundredth of that each, or what happens once a day would never be expected."""

FLOOR = 1e-4
"""No single context is surer than this, either way."""

STEEPEST = 9.0
"""Log-odds at which the mixture is as sure as it gets."""


def _logit(p: Floats) -> Floats:
    clipped = np.clip(p, FLOOR, 1.0 - FLOOR)
    found: Floats = np.log(clipped / (1.0 - clipped))
    return found


def _logistic(x: Floats) -> Floats:
    found: Floats = 1.0 / (1.0 + np.exp(-np.clip(x, -STEEPEST, STEEPEST)))
    return found


class Counts:
    """How often tasks were not asked for, and were, by a context's value."""

    def __init__(self, size: int, *, shared: bool) -> None:
        """With so many cells, for each task or for all."""
        self._size, self._shared = size, shared
        self._cells = np.zeros((size if shared else 0, 2), dtype=np.float32)

    def grow(self, tasks: int) -> None:
        """Have room for so many tasks: for twice as many as before, so that tasks that come one by one are not slow."""
        if not self._shared and tasks * self._size > len(self._cells):
            self._cells = _grown(self._cells, max(tasks * self._size, 2 * len(self._cells)))

    def place(self, values: Ints) -> Ints:
        """The cell of each task; `values` are the context's, by task."""
        cells = _spread(values, self._size)
        return cells if self._shared else cells + np.arange(len(values)) * self._size

    def says(self, place: Ints) -> Floats:
        """Log-odds for each task, drawn to 0 where little was counted."""
        counts = self._cells[place]
        times = counts[:, 0] + counts[:, 1]
        p = (counts[:, 1] + PRIOR * RARE) / (times + PRIOR)
        found: Floats = _logit(p) * (times / (times + DOUBT))
        return found

    def note(self, place: Ints, asked: Bools, known: Bools) -> None:
        """Count one minute of every task that is known."""
        place, asked = place[known], asked[known]
        if self._shared:
            np.add.at(self._cells.reshape(-1), 2 * place + asked, np.float32(1.0))
            return
        counts = self._cells[place]
        counts *= np.minimum(1.0, KEPT / np.maximum(counts[:, :1] + counts[:, 1:], KEPT))
        counts[np.arange(len(counts)), asked.astype(np.int64)] += 1.0
        self._cells[place] = counts


def _first_weights(gates: int) -> Floats:
    """What is believed before anything is learnt, [2 × gates, inputs]: the second half is for a day later."""
    contexts = len(OWN_SIZES) + SHARED
    usual = [FIRST_WEIGHT] * contexts + [FIRST_RATE_WEIGHT] * len(RATES) + [0.0]
    a_day_later = [YESTERDAY / 100] * (contexts + len(RATES)) + [0.0]
    a_day_later[len(OWN_SIZES) - 1] = YESTERDAY
    return np.repeat(np.array([usual, a_day_later]), gates, axis=0)


def _grown(rows: NDArray[Any], count: int) -> NDArray[Any]:
    """The same rows and new ones of zeros, `count` in all."""
    # Memory that is only asked for is not taken yet.
    found = np.zeros((count, *rows.shape[1:]), dtype=rows.dtype)
    found[: len(rows)] = rows
    return found


def _spread(values: Ints, size: int) -> Ints:
    """The cell of each value: itself where there is one, else by multiplicative hashing (Knuth, vol. 3, 6.4)."""
    if values.max(initial=0) < size:
        return values
    hashed = ((values * 2654435761) & 0xFFFFFFFF) * size >> 32
    found: Ints = np.where(values < size, values, hashed)
    return found


class Recurrence:
    """The recent past of every task, minute by minute, and what it lets expect of the next.

    The same minutes give the same expectations to the last bit, so it need not be stored where the minutes are.
    """

    def __init__(self) -> None:
        self.tasks: list[str] = []
        self._number: dict[str, int] = {}
        self._minute: int | None = None
        """The minute that is to be closed next."""
        self._asked = np.zeros((0, DAY + 2), dtype=np.uint8)
        """Whether each task was asked for, by minute, in a ring."""
        self._last = np.zeros(0, dtype=np.int64)
        self._before = np.zeros(0, dtype=np.int64)
        """Minutes from the last but one time to the last."""
        self._known = np.zeros(0, dtype=np.bool_)
        self._rates = np.zeros((len(RATES), 0))
        self._own = [Counts(size, shared=False) for size in OWN_SIZES]
        self._shared = [Counts(SHARED_SIZE, shared=True) for _ in range(SHARED)]
        self._weights = [_first_weights(size) for size in GATES]
        self._age = np.zeros(0, dtype=np.int64)
        self._mixed: _Mixed | None = None

    def close(self, minute: int, active: Collection[str]) -> None:
        """A minute has ended in which these tasks were asked for; minutes that were left out had none.

        Minutes are whole numbers that ascend. Raises ValueError for one that was closed already.
        """
        if self._minute is None:
            self._minute = minute
        if minute < self._minute:
            raise ValueError(f"minute {minute} is closed already; the next is {self._minute}")
        # After a day of silence there is nothing that a further silent minute would tell.
        self._minute = max(self._minute, minute - DAY - 2)
        while self._minute < minute:
            self._close(())
        self._close(active)

    def ahead(self, task: str) -> float:
        """Probability that the task is asked for in the minute that comes next; 0 for one that never was."""
        number = self._number.get(task)
        return 0.0 if number is None else float(self._expected().probability[number])

    def all_ahead(self) -> Mapping[str, float]:
        """`ahead` of every task that was ever asked for."""
        return dict(zip(self.tasks, self._expected().probability.tolist(), strict=True))

    def _close(self, active: Collection[str]) -> None:
        assert self._minute is not None
        self._grow([task for task in dict.fromkeys(active) if task not in self._number])
        mixed, minute = self._expected(), self._minute
        asked = np.zeros(len(self.tasks), dtype=np.bool_)
        asked[[self._number[task] for task in active]] = True
        self._learn(mixed, asked)
        again = asked & self._known
        self._before = np.where(again, minute - self._last, self._before)
        self._last = np.where(asked, minute, self._last)
        self._rates += np.array(RATES)[:, None] * (asked - self._rates) * self._known
        self._age += self._known
        self._known |= asked
        self._asked[:, minute % (DAY + 2)] = asked
        self._minute, self._mixed = minute + 1, None

    def _grow(self, new: Sequence[str]) -> None:
        """Make room for tasks that were not asked for before."""
        if not new:
            return
        self._number.update({task: len(self.tasks) + i for i, task in enumerate(new)})
        self.tasks.extend(new)
        more, count = len(new), len(self.tasks)
        self._asked, self._known = _grown(self._asked, count), _grown(self._known, count)
        self._last, self._before, self._age = (
            _grown(column, count) for column in (self._last, self._before, self._age)
        )
        self._rates = np.concatenate([self._rates, np.full((len(RATES), more), RATES[1] / 2)], axis=1)
        for counts in (*self._own, *self._shared):
            counts.grow(count)
        self._mixed = None

    def _expected(self) -> _Mixed:
        if self._mixed is None:
            self._mixed = self._mix()
        return self._mixed

    def _mix(self) -> _Mixed:
        contexts, gates = self._contexts()
        every = (*self._own, *self._shared)
        places = [counts.place(values) for counts, values in zip(every, contexts, strict=True)]
        said = [counts.says(place) for counts, place in zip(every, places, strict=True)]
        inputs = np.array([*said, *_logit(np.clip(self._rates, 1e-3, 1.0 - 1e-3)), np.ones(len(self.tasks))])
        mixtures = [
            _logistic((weights[gate].T * inputs).sum(axis=0))
            for weights, gate in zip(self._weights, gates, strict=True)
        ]
        mean = np.mean([np.log(p / (1.0 - p)) for p in mixtures], axis=0)
        probability = np.where(self._known, _logistic(mean), 0.0)
        return _Mixed(places, gates, inputs, mixtures, probability)

    def _learn(self, mixed: _Mixed, asked: Bools) -> None:
        known = self._known
        for weights, gate, said in zip(self._weights, mixed.gates, mixed.mixtures, strict=True):
            steps = mixed.inputs * ((asked - said) * LEARNING * known)
            cells = gate[:, None] * weights.shape[1] + np.arange(weights.shape[1])
            np.add.at(weights.reshape(-1), cells.reshape(-1), steps.T.reshape(-1))
        for counts, place in zip((*self._own, *self._shared), mixed.places, strict=True):
            counts.note(place, asked, known)

    def _contexts(self) -> tuple[list[Ints], list[Ints]]:
        """Each context's value, by task, a task's own first and then all tasks'; and what gates the mixtures."""
        minute = self._minute or 0
        gap = np.where(self._known, minute - self._last, 0)
        since, before = np.minimum(gap, LONGEST), np.minimum(self._before, LONGEST)
        log_gap = _steps(gap, 24)
        rate = _steps(self._rates[-1] * 120, RATE_GATES - 1)
        lags = self._at_lags()
        both = since * (LONGEST + 1) + before
        last_8, last_20 = self._bits(8), self._bits(20)
        clock = np.full(len(gap), minute % HOUR)
        own = [since, both, last_8, last_20, clock, lags]
        shared = [since * RATE_GATES + rate, both, last_8 * RATE_GATES + rate, lags * 25 + log_gap]
        gates = (np.minimum(log_gap // 2, GAP_GATES - 1), rate, _steps(self._age, 2 * AGE_GATES - 1) // 2)
        a_day_later = lags >= 1 << len(LAGS)
        return [*own, *shared], [np.where(a_day_later, size + g, g) for g, size in zip(gates, GATES, strict=True)]

    def _bits(self, count: int) -> Ints:
        """Whether each task was asked for in each of the last minutes, as one number, the newest in its highest bit."""
        minute = self._minute or 0
        places = (minute - count + np.arange(count)) % (DAY + 2)
        found: Ints = self._asked[:, places].astype(np.int64) @ (1 << np.arange(count))
        return found

    def _at_lags(self) -> Ints:
        """Whether each task was asked for one of LAGS ago, each a bit, and about a day ago, two more."""
        minute = self._minute or 0
        places = [(minute - lag) % (DAY + 2) for lag in LAGS]
        a_day_ago = [(minute - DAY + shift) % (DAY + 2) for shift in (-1, 0, 1)]
        yesterday = np.minimum(self._asked[:, a_day_ago].sum(axis=1, dtype=np.int64), 2)
        found: Ints = self._asked[:, places].astype(np.int64) @ (1 << np.arange(len(LAGS))) + (yesterday << len(LAGS))
        return found


def _steps(values: Ints | Floats, most: int) -> Ints:
    """Two steps for each doubling, from 0 on."""
    found: Ints = np.minimum(np.log2(values + 1.0) * 2.0, most).astype(np.int64)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Mixed:
    """What was expected of one minute, and of what."""

    places: Sequence[Ints]
    """The cell of each context, by task."""
    gates: Sequence[Ints]
    inputs: Floats
    mixtures: Sequence[Floats]
    probability: Floats
