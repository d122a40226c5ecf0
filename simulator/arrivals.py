"""When requests arrive: seeded point processes as arrays of seconds; pure, they read no clock and send nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
"""Times in seconds from the start, ascending."""


CLOCKWORK = 1e-6
"""A coefficient of variation below this is none: the shape of its gamma distribution would be beyond what is drawn."""

NEVER = 1e-9
"""So few arrivals are none: one in a thousand million draws."""


class Phase(NamedTuple):
    """A stretch of constant rate: it begins at `start_s` and lasts until the next phase."""

    start_s: float
    rate: float


class Arrivals(NamedTuple):
    """Arrival times (s, ascending) and the phases that they were drawn from, the first at 0 s."""

    times: Floats
    phases: tuple[Phase, ...]


def poisson(rate: float, seconds: float, *, seed: int) -> Floats:
    """The arrivals of a Poisson process of `rate` a second within [0, `seconds`).

    Raises ValueError unless both are finite and not negative.
    """
    _check("rate", rate)
    _check("seconds", seconds)
    return _poisson(np.random.default_rng(seed), rate, 0.0, seconds)


def modulated(rates: Sequence[float], stay_s: float, seconds: float, *, seed: int) -> Arrivals:
    """The arrivals of a Markov-modulated Poisson process within [0, `seconds`).

    A state's rate (a second) holds for an exponential stay of mean `stay_s`; the next state is uniform among the
    others, and so is the first among all, which is the stationary distribution: the mean rate is that of `rates`.
    Raises ValueError without rates, for a negative one, or unless `stay_s` is positive.
    """
    if not len(rates):
        raise ValueError("a modulated process needs at least one rate")
    for rate in rates:
        _check("rate", rate)
    _check("seconds", seconds)
    if not 0.0 < stay_s < np.inf:
        raise ValueError(f"stay_s must be positive and finite, not {stay_s}")
    random = np.random.default_rng(seed)
    phases = _phases(random, rates, stay_s, seconds)
    stops = [*(phase.start_s for phase in phases[1:]), seconds]
    drawn = [_poisson(random, phase.rate, phase.start_s, stop) for phase, stop in zip(phases, stops, strict=True)]
    return Arrivals(np.concatenate(drawn), phases)


def gamma(rate: float, cv: float, seconds: float, *, seed: int) -> Floats:
    """Arrivals of `rate` a second within [0, `seconds`) whose gaps are gamma distributed with coefficient of variation
    `cv`: 1 is Poisson, more comes in bursts, less is more even, and 0 is a clock.

    The first gap is drawn like any other, so the process starts with an event at 0 that does not count.
    Raises ValueError unless all are finite and not negative.
    """
    _check("rate", rate)
    _check("cv", cv)
    _check("seconds", seconds)
    random = np.random.default_rng(seed)
    expected = rate * seconds
    if expected < NEVER:
        return np.empty(0)
    drawn, last = [], 0.0
    # A few deviations more than are expected; where that falls short, the next round goes on from the last.
    size = int(expected + 4.0 * max(cv, 1.0) * expected**0.5) + 16
    while last < seconds:
        gaps = random.gamma(1.0 / cv**2, cv**2 / rate, size) if cv > CLOCKWORK else np.full(size, 1.0 / rate)
        drawn.append(last + np.cumsum(gaps))
        last = float(drawn[-1][-1])
    times = np.concatenate(drawn)
    return times[times < seconds]


def of_counts(counts: Sequence[int] | NDArray[np.int64], *, seed: int, width_s: float = 1.0) -> Floats:
    """`counts[i]` arrivals uniform within the i-th bin of `width_s` seconds: what a Poisson process does, given them.

    Raises ValueError for a negative count, or unless `width_s` is positive.
    """
    numbers = np.asarray(counts, dtype=np.int64)
    if len(numbers) and numbers.min() < 0:
        raise ValueError(f"counts[{int(numbers.argmin())}] is negative: {numbers.min()}")
    if not 0.0 < width_s < np.inf:
        raise ValueError(f"width_s must be positive and finite, not {width_s}")
    bins = np.repeat(np.arange(len(numbers), dtype=np.float64), numbers)
    return np.sort((bins + np.random.default_rng(seed).random(len(bins))) * width_s)


def of_stamps(stamps_s: ArrayLike) -> Floats:
    """Per-request stamps (s, any origin and order) as times from the first of them.

    Raises ValueError for a stamp that is not finite.
    """
    times = np.sort(np.asarray(stamps_s, dtype=np.float64))
    if not np.isfinite(times).all():
        raise ValueError("a stamp is not finite")
    return times - times[0] if len(times) else times


def scaled(times: Floats, factor: float) -> Floats:
    """The same arrivals `factor` times as fast: 60 plays an hour in a minute; raises ValueError unless positive."""
    if not 0.0 < factor < np.inf:
        raise ValueError(f"factor must be positive and finite, not {factor}")
    return times / factor


def window(times: Floats, start: float, stop: float) -> Floats:
    """The arrivals within [`start`, `stop`) seconds, counted from `start`; raises ValueError where `stop` is before."""
    if not start <= stop:
        raise ValueError(f"a window from {start} s to {stop} s has no extent")
    first, last = np.searchsorted(times, (start, stop))
    return times[first:last] - start


def _check(name: str, value: float) -> None:
    if not 0.0 <= value < np.inf:
        raise ValueError(f"{name} must be finite and not negative, not {value}")


def _poisson(random: np.random.Generator, rate: float, start: float, stop: float) -> Floats:
    """Given their number, the arrivals of a Poisson process are uniform (Kingman 1993, section 2.4)."""
    return np.sort(random.uniform(start, stop, random.poisson(rate * (stop - start))))


def _phases(random: np.random.Generator, rates: Sequence[float], stay_s: float, seconds: float) -> tuple[Phase, ...]:
    state, start = int(random.integers(len(rates))), 0.0
    phases = [Phase(start, rates[state])]
    while len(rates) > 1 and (start := start + float(random.exponential(stay_s))) < seconds:
        step = int(random.integers(1, len(rates)))
        state = (state + step) % len(rates)
        phases.append(Phase(start, rates[state]))
    return tuple(phases)
