"""BATCH: one variant on functions, whose memory, batch size and timeout come from a grid search over fitted arrivals.

Ali et al., BATCH, SC 2020: a Markovian arrival process of two phases, the batch sizes and latencies that follow from
it, and the search for the cheapest setting. The fit has two moments of the gaps and no autocorrelation: a renewal
process of hyperexponential gaps with balanced means. As in the paper, nothing here knows of cold starts.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry.catalogue import Catalogue
from registry.model import Slo, StartMode
from simulator.policies.options import FUNCTIONS, Option, fastest, feasible, limit_ms, most_accurate, options
from simulator.policies.tracking import UNANSWERABLE, Baseline
from simulator.policy import Action, Invoke, Job, Reject

FIT_S = 120.0
"""How often it fits anew. The paper fits once an hour on traces of days; those here are of hours."""

GAPS = 4096
"""Gaps that a fit remembers."""

BATCHES = (1, 2, 4, 8, 16, 32)
TIMEOUTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""The grid: batch sizes, and timeouts as shares of the latency bound."""

LEAST_MASS = 1e-9


class Gaps(NamedTuple):
    """A renewal process whose gaps are exponential with one of two rates (a second), the first with this `share`."""

    share: float
    first: float
    second: float

    @property
    def mean_s(self) -> float:
        """Mean gap."""
        return self.share / self.first + (1 - self.share) / self.second


class Setting(NamedTuple):
    """What the search decides: a variant's memory size, a batch size, a timeout (s)."""

    option: Option
    batch: int
    timeout_s: float


@dataclass(slots=True)
class _Buffer:
    candidates: list[Option]
    setting: Setting
    slo: Slo
    jobs: list[Job] = field(default_factory=list)
    gaps: deque[float] = field(default_factory=lambda: deque(maxlen=GAPS))
    last: float = -inf

    def due(self) -> float:
        """When the buffer must go (s)."""
        return self.jobs[0].arrived + self.setting.timeout_s if self.jobs else inf


class Batch(Baseline):
    """The most accurate variant that holds the bounds unbatched, with a buffer before its functions."""

    name = "batch"
    period_s = FIT_S

    def __init__(self, catalogue: Catalogue) -> None:
        super().__init__(catalogue)
        self._buffers: dict[str, _Buffer | None] = {}

    def arrive(self, job: Job, now: float) -> Iterable[Action]:
        """Into the buffer, which goes when it is full."""
        task = job.request.task
        if task not in self._buffers:
            self._buffers[task] = self._open(task, job.request.slo)
        buffer = self._buffers[task]
        if buffer is None:
            return [Reject(job, UNANSWERABLE)]
        if now > buffer.last > -inf:
            buffer.gaps.append(now - buffer.last)
        buffer.last = now
        buffer.jobs.append(job)
        return self._flush(buffer) if len(buffer.jobs) >= buffer.setting.batch else []

    def tick(self, now: float) -> Iterable[Action]:
        """Fit and search anew."""
        actions: list[Action] = []
        for buffer in self._buffers.values():
            if buffer is not None and len(buffer.gaps) > 1:
                buffer.setting = search(buffer.candidates, fit(buffer.gaps), buffer.slo)
                if len(buffer.jobs) >= buffer.setting.batch:
                    actions += self._flush(buffer)
        return actions

    def wake(self, now: float) -> Iterable[Action]:
        """Buffers whose first job waited long enough go."""
        actions = [*super().wake(now)]
        for buffer in self._buffers.values():
            if buffer is not None and buffer.due() <= now:
                actions += self._flush(buffer)
        return actions

    def wake_at(self) -> float:
        """When the first buffer must go."""
        due = (buffer.due() for buffer in self._buffers.values() if buffer is not None)
        return min(super().wake_at(), min(due, default=inf))

    def _open(self, task: str, slo: Slo) -> _Buffer | None:
        sized = options(self.catalogue, task, slo.percentile, FUNCTIONS)
        found = [option for option in sized if option.tier.start_mode is StartMode.ONDEMAND]
        if not found:
            return None
        holding = feasible(found, slo)
        variant = (most_accurate(holding) if holding else fastest(found)).placement.variant
        candidates = [option for option in found if option.placement.variant == variant]
        return _Buffer(candidates, Setting(fastest(candidates), 1, 0.0), slo)

    def _flush(self, buffer: _Buffer) -> list[Action]:
        jobs, buffer.jobs = tuple(buffer.jobs), []
        return [Invoke(buffer.setting.option.placement, jobs)]


def fit(gaps_s: Sequence[float] | deque[float]) -> Gaps:
    """Gaps of the same mean and variance; exponential where they vary no more than such do."""
    found = np.asarray(gaps_s)
    mean = float(found.mean())
    square = float(found.var()) / mean**2
    if square <= 1.0:
        return Gaps(1.0, 1 / mean, 1 / mean)
    share = (1 + math.sqrt((square - 1) / (square + 1))) / 2
    return Gaps(share, 2 * share / mean, 2 * (1 - share) / mean)


FILLED = 700.0
"""Jobs expected within the timeout from which on a buffer is always full: no buffer has room for a hundredth of them,
and the probability of none is below what a float can hold."""


def sizes(gaps: Gaps, batch: int, timeout_s: float) -> NDArray[np.float64]:
    """P(a buffer goes with 1, 2, ..., `batch` jobs): what the process counts within the timeout after the first.

    It is expm(Q · timeout) over pairs of count and phase, by uniformisation (Jensen 1953).
    """
    start = np.array([gaps.share, 1 - gaps.share])
    rates = np.array([gaps.first, gaps.second])
    state = np.zeros((batch, 2))
    state[0] = start
    if batch == 1 or timeout_s <= 0:
        return _by_count(state)
    top = float(rates.max())
    if top * timeout_s > FILLED:
        state[:] = 0.0
        state[-1, 0] = 1.0
        return _by_count(state)
    moved = rates / top
    weight, total = math.exp(-top * timeout_s), 0.0
    counted = np.zeros_like(state)
    step = 0
    while total < 1 - LEAST_MASS and step < 20 * (top * timeout_s + 10):
        counted += weight * state
        total += weight
        arrived = (state * moved).sum(axis=1)
        after = state * (1 - moved)
        after[1:] += arrived[:-1, None] * start
        after[-1] += state[-1] * moved  # full: what comes then is the next buffer's
        state, step = after, step + 1
        weight *= top * timeout_s / step
    return _by_count(counted)


def _by_count(state: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = state.sum(axis=1)
    return found


def search(candidates: Sequence[Option], gaps: Gaps, slo: Slo) -> Setting:
    """The cheapest setting whose latency holds at the SLO's percentile; without any, the fastest memory unbatched."""
    best, least = Setting(fastest(candidates), 1, 0.0), inf
    bound_s = min(limit_ms(slo) / 1000, 60.0)
    for batch in BATCHES:
        for timeout in TIMEOUTS if batch > 1 else (0.0,):
            spread = sizes(gaps, batch, timeout * bound_s)
            for option in candidates:
                if batch > len(option.ms):
                    continue
                usd = cost(option, spread)
                holds = in_time(option, spread, timeout * bound_s, gaps, limit_ms(slo)) >= slo.percentile / 100
                if usd < least and holds:
                    best, least = Setting(option, batch, timeout * bound_s), usd
    return best


def cost(option: Option, spread: NDArray[np.float64]) -> float:
    """Dollars of one request: those of the invocations over the requests in them."""
    usd = sum(share * option.usd(jobs) for jobs, share in enumerate(spread.tolist(), 1))
    return float(usd / sum(share * jobs for jobs, share in enumerate(spread.tolist(), 1)))


def in_time(option: Option, spread: NDArray[np.float64], timeout_s: float, gaps: Gaps, bound_ms: float) -> float:
    """Share of requests within the bound: a wait, uniform up to when the buffer goes, and then the batch's service."""
    kept = requests = 0.0
    for jobs, share in enumerate(spread.tolist(), 1):
        full = jobs == len(spread)
        open_ms = 1000 * (min(timeout_s, (jobs - 1) * gaps.mean_s) if full else timeout_s)
        left_ms = bound_ms - option.ms[jobs - 1]
        kept += share * jobs * _within(left_ms, open_ms, alone=jobs == 1)
        requests += share * jobs
    return float(kept / requests)


def _within(left_ms: float, open_ms: float, *, alone: bool) -> float:
    """Share of waits, uniform up to `open_ms`, that fit what is left; alone, a job waits for all of it."""
    if left_ms >= open_ms:
        return 1.0
    return 0.0 if alone or open_ms <= 0 else max(0.0, left_ms / open_ms)
