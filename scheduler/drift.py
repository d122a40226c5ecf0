"""How far a placement's live service is from its profile, and when that changed; pure, and never reads a clock.

An outcome is the logarithm of a live service time over the profile's median. A window keeps the newest ones exactly,
so its quantiles have no error but that of a sample (Dvoretzky, Kiefer & Wolfowitz: with n outcomes, every rank is
within sqrt(ln(2 / a) / 2n) of the truth with probability 1 - a; 20 % of rank for 48 outcomes and 95 %). A two-sided
CUSUM (Page, Continuous inspection schemes, Biometrika 1954) watches for a change, and when it finds one, only what came
since that change began is kept: the belief jumps, where the window alone would need half its length.

Outcomes are held against the median of those before the change that is suspected, and clipped at CLIP of their spreads,
so that one straggler is no change. The allowance is half the change to be found (SHIFT) and the error of that median;
the threshold is the likelihood ratio of Wald's test for Gaussian noise (DOUBT), and nearly three clipped outcomes. On a
steady placement, with a spread of 10 % and tails as heavy as Student's with 3 degrees of freedom, or with one outcome
of twenty five times too long, that is one false alarm in 1,000 outcomes at most (four where the noise is as skewed as
an exponential); a change of 20 % is noticed within 9 outcomes at the median and 42 at the 95th percentile, a doubling
within 3 and 8. A spread of 20 % takes twice of each. A false alarm costs the older part of a window, no more
(tests/unit/scheduler/test_drift.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scheduler.coverage import faded

WINDOW = 48
"""Outcomes kept. A change of 20 % shows in the median once half are new; of 32, the median itself wanders by 7 %."""

LEARNT = 4
"""Outcomes before a change is looked for: what there is to change from is not known earlier."""

SPREAD_KNOWN = 8
"""Outcomes from which on their own spread is believed, not an earlier one or the profile's."""

SHIFT = math.log(1.2)
"""The change that is looked for: what the platform promises to notice."""

DOUBT = 8.0
"""Logarithm of the likelihood ratio that makes a change: odds of 3,000 to 1."""

CLIP = 3.0
"""Spreads beyond which an outcome is a straggler."""

STRAGGLERS = 2.9
"""As much as so many of them must add up: three in a row are a change, two are not."""

CAUTION = 1.5
"""Standard errors of the median that are allowed for."""

LEAST_SPREAD = 0.05
"""Least relative spread of service times that is believed: a scheduler's jitter, where a profile shows none."""

IQR = 1.349
"""Interquartile range of a standard normal."""

MEDIAN_ERROR = 1.2533
"""Standard error of a median in standard errors of a mean, for Gaussian noise: sqrt(pi / 2)."""


@dataclass(frozen=True, slots=True)
class Run:
    """One side of the CUSUM: its sum, and for how many outcomes it has not been 0."""

    total: float = 0.0
    length: int = 0

    def after(self, excess: float) -> Run:
        """With one more outcome, `excess` beyond what is allowed."""
        total = self.total + excess
        return CALM if total <= 0.0 else Run(total, self.length + 1)


CALM = Run()


@dataclass(frozen=True, slots=True)
class Drift:
    """What the outcomes of one placement say."""

    ratios: tuple[float, ...] = ()
    """Log ratios of live over profiled service, the newest last."""
    median: float = 0.0
    spread: float = LEAST_SPREAD
    """The relative spread (a standard deviation, were the noise Gaussian) of one outcome on a steady placement."""
    slower: Run = CALM
    faster: Run = CALM
    at: float = -math.inf
    """When (s) the newest came."""

    @property
    def error(self) -> float:
        """Standard error of the median; infinite without outcomes."""
        return _error(self.spread, len(self.ratios)) if self.ratios else math.inf

    def after(self, ratio: float, profiled: float, now: float) -> tuple[Drift, bool]:
        """With one more outcome, and whether that makes a change.

        `ratio` is the log ratio, `profiled` the profile's relative spread.
        """
        # Of what is long ago no more is kept than is still believed.
        known = self.ratios[len(self.ratios) - round(len(self.ratios) * faded(self.at, now)) :]
        grown = (*known, ratio)[-WINDOW:]
        if len(known) < LEARNT:
            return Drift(grown, _median(sorted(grown)), max(self.spread, profiled), CALM, CALM, now), False
        before = known[: len(known) - max(self.slower.length, self.faster.length)]
        ordered = sorted(before if len(before) >= LEARNT else known)
        spread = max(_spread(ordered), LEAST_SPREAD) if len(ordered) >= SPREAD_KNOWN else max(self.spread, profiled)
        clip = max(CLIP * spread, SHIFT)
        allowed = SHIFT / 2 + CAUTION * _error(spread, len(ordered))
        off = min(max(ratio - _median(ordered), -clip), clip)
        slower, faster = self.slower.after(off - allowed), self.faster.after(-off - allowed)
        enough = max(DOUBT * spread**2 / SHIFT, STRAGGLERS * (clip - allowed))
        change = next((run for run in (slower, faster) if run.total > enough), None)
        if change is not None:
            grown, slower, faster = grown[-change.length :], CALM, CALM
        return Drift(grown, _median(sorted(grown)), spread, slower, faster, now), change is not None


def _median(ordered: Sequence[float]) -> float:
    n = len(ordered)
    return (ordered[n // 2] + ordered[(n - 1) // 2]) / 2


def _spread(ordered: Sequence[float]) -> float:
    n = len(ordered)
    return (ordered[3 * n // 4] - ordered[n // 4]) / IQR


def _error(spread: float, count: int) -> float:
    return MEDIAN_ERROR * spread / math.sqrt(count)
