"""Keeps predicted percentiles true, whatever the queue does: adaptive conformal prediction; pure, and never looks back.

A predicted distribution is read at a level by its normal score. For each of LEVELS a task has a margin on each tier, by
which that score is moved. After every outcome there, late at a level or not, the margin moves by
STEP (late - (1 - level)), so that in the long run as many outcomes are late as the level says, for any sequence of
outcomes at all (Gibbs & Candès, Adaptive conformal inference under distribution shift, NeurIPS 2021, proposition 4.1;
the score in place of the level, and the bound, are those of quantile tracking: Angelopoulos, Candès & Tibshirani,
Conformal PID control, NeurIPS 2023, section 2).

After T outcomes the late share is off by (final margin - first margin) / (STEP T), exactly, while no margin is at the
end of its REACH or lifted so that scores ascend with levels; a lift only makes fewer outcomes late.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from registry.model import LEVELS
from scheduler.quantiles import SCORES

Margins = tuple[float, ...]
"""By how much the normal score of each of LEVELS is moved."""

NO_MARGINS: Margins = (0.0,) * len(LEVELS)

STEP = 0.15
"""How fast margins move. In the steady state the level that is read as the 95th percentile wanders by 1.9 points (one
standard deviation, sqrt(STEP p (1 - p) f / 2) with f the normal density at p); an error of a whole spread costs 7
outcomes in all, however long it takes."""

REACH = 6.0
"""The farthest that a margin goes: with the tails of `quantiles.read`, 20 times the largest measured quantile. No
measured service was ever so wrong; it bounds what one stalled hour can do."""

_LATE = tuple(STEP * level for level in LEVELS)
_EARLY = tuple(STEP * (level - 1.0) for level in LEVELS)

FADES_S = 300.0
"""Seconds without outcomes in which a belief fades to 1/e of itself: a placement that nobody tries is given its
profile's word again after some ten minutes."""


def after(margins: Margins, predicted_ms: Sequence[float], latency_ms: float, *, answered: bool = True) -> Margins:
    """The margins after an outcome that was predicted to be within `predicted_ms` at each of LEVELS.

    Where nothing was `answered` within `latency_ms`, only the levels are moved at which that is late already.
    """
    moved, score = [], -math.inf
    for z, late, early, margin, ms in zip(SCORES, _LATE, _EARLY, margins, predicted_ms, strict=True):
        stepped = margin + (late if latency_ms > ms else early if answered else 0.0)
        score = max(score, z + (-REACH if stepped < -REACH else min(stepped, REACH)))
        moved.append(score - z)
    return tuple(moved)


def faded(at: float, now: float) -> float:
    """What is left at `now` of a belief whose last outcome came at `at` (s)."""
    return math.exp(min(at - now, 0.0) / FADES_S)
