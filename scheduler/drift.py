"""How far a placement's live service is from its profile, and when that changed; pure, and never reads a clock.

An outcome is the logarithm of a live service time over the profile's median. A window keeps the newest ones exactly,
so its quantiles have no error but that of a sample (Dvoretzky, Kiefer & Wolfowitz: with n outcomes, every rank is
within sqrt(ln(2 / a) / 2n) of the truth with probability 1 - a; 20 % of rank for 48 outcomes and 95 %). A two-sided
CUSUM (Page, Continuous inspection schemes, Biometrika 1954) watches for a change, and when it finds one, only what came
since that change began is kept: the belief jumps, where the window alone would need half its length.

Outcomes are centred on the window's median and clipped at CLIP of its spreads, so that a few stragglers are no change.
The allowance is half the change to be found (SHIFT) and the error of the median; the threshold is the likelihood ratio
of Wald's test for Gaussian noise, DOUBT, and at least three clipped outcomes. On a steady placement, with noise of a
spread of 5 to 20 % and tails as heavy as Student's with 3 degrees of freedom, or with one outcome of twenty five times
too long, that is less than one false alarm in 1,000 outcomes (tests/unit/scheduler/test_drift.py); each costs the
window's older half, no more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scheduler.coverage import NO_MARGINS, Margins, faded

WINDOW = 48
"""Outcomes kept. A change of 20 % shows in the median once half are new; of 32, the median itself wanders by 7 %."""

LEARNT = 8
"""Outcomes before a change is looked for: what there is to change from is not known earlier."""

SHIFT = math.log(1.2)
"""The change that is looked for: what the platform promises to notice."""

DOUBT = 6.0
"""Logarithm of the likelihood ratio that makes a change: odds of 400 to 1."""

CLIP = 3.0
"""Spreads beyond which an outcome is a straggler."""

LEAST_SPREAD = 0.05
"""Least relative spread of service times that is believed: a scheduler's jitter, where a profile shows none."""

IQR = 1.349
"""Interquartile range of a standard normal."""

MEDIAN_ERROR = 1.2533
"""Standard error of a median in standard errors of a mean, for Gaussian noise: sqrt(pi / 2)."""


@dataclass(frozen=True, slots=True)
class Run:
    """One side of the CUSUM: its sum, for how many outcomes it has not been 0, and the margins when it last was."""

    total: float = 0.0
    length: int = 0
    margins: Margins = NO_MARGINS

    def after(self, excess: float, margins: Margins) -> Run:
        """With one more outcome, `excess` beyond what is allowed."""
        total = self.total + excess
        if total <= 0.0:
            return Run(margins=margins)
        return Run(total, self.length + 1, self.margins)


CALM = Run()


@dataclass(frozen=True, slots=True)
class Drift:
    """What the outcomes of one placement say."""

    ratios: tuple[float, ...] = ()
    """Log ratios of live over profiled service, the newest last."""
    median: float = 0.0
    spread: float = LEAST_SPREAD
    """The relative spread (a standard deviation, were the noise Gaussian) of one outcome."""
    slower: Run = CALM
    faster: Run = CALM
    at: float = -math.inf
    """When (s) the newest came."""

    @property
    def error(self) -> float:
        """Standard error of the median; infinite without outcomes."""
        return MEDIAN_ERROR * self.spread / math.sqrt(len(self.ratios)) if self.ratios else math.inf

    def after(self, ratio: float, profiled: float, margins: Margins, now: float) -> tuple[Drift, Margins | None]:
        """With one more outcome; beside it, when that makes a change, the tier's margins from before the change.

        `ratio` is the log ratio, `profiled` the profile's relative spread, `margins` are the tier's now.
        """
        # Of what is long ago no more is kept than is still believed.
        kept = round(len(self.ratios) * faded(self.at, now))
        grown = (*self.ratios[len(self.ratios) - kept :], ratio)[-WINDOW:]
        calm = Run(margins=margins)
        if len(self.ratios) < LEARNT:
            return _drift(grown, profiled, calm, calm, now), None
        clip = max(CLIP * self.spread, SHIFT)
        allowed = SHIFT / 2 + self.error
        off = min(max(ratio - self.median, -clip), clip)
        slower, faster = self.slower.after(off - allowed, margins), self.faster.after(-off - allowed, margins)
        enough = max(DOUBT * self.spread**2 / SHIFT, 3 * (clip - allowed))
        change = next((run for run in (slower, faster) if run.total > enough), None)
        if change is None:
            return _drift(grown, profiled, slower, faster, now), None
        return _drift(grown[-change.length :], profiled, calm, calm, now), change.margins


def _drift(ratios: tuple[float, ...], profiled: float, slower: Run, faster: Run, now: float) -> Drift:
    ordered, n = sorted(ratios), len(ratios)
    spread = (ordered[3 * n // 4] - ordered[n // 4]) / IQR if n >= LEARNT else profiled
    median = (ordered[n // 2] + ordered[(n - 1) // 2]) / 2
    return Drift(ratios, median, max(spread, LEAST_SPREAD), slower, faster, now)
