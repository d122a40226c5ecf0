"""Spreads requests over placements that are as good as one another; pure, and gives nothing up that a caller asked for.

Schedulers that know the same come to the same choice, and where none sees what the others do they all send their
requests to the same tier of several alike until it refuses. So one of two that were drawn is taken, the faster by what
is expected: two choices come close to the best that all knowledge would give (Mitzenmacher, The Power of Two Choices in
Randomized Load Balancing, IEEE TPDS 2001).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scheduler.estimate import Outlook

SLOWER = 1.05
"""How much longer a placement may take than the first and be as good: profiles of equal machines differ as much."""

DEARER = 1.01
"""How much more it may cost, which follows from its time."""


def spread(view: Outlook, held: NDArray[np.intp], first: int, uniform: float) -> int:
    """One of the placements that hold every bound and are as good as the first, which is one of them.

    As good is as accurate, on another tier, and neither slower nor dearer but for what measuring again might differ by.
    """
    fast = view.latency_ms.take(held) <= SLOWER * view.latency_ms[first]
    cheap = view.cost.take(held) <= DEARER * view.cost[first]
    alike = held[fast & cheap & (view.accuracy.take(held) == view.accuracy[first])]
    if len(alike) == 1:
        return first
    tiers = view.table.tiers.take(alike)
    alike = alike[(tiers != view.table.tiers[first]) | (alike == first)]
    return _faster_of_two(view, alike, uniform) if len(alike) > 1 else first


def _faster_of_two(view: Outlook, alike: NDArray[np.intp], uniform: float) -> int:
    """Of two that one number draws, without replacement."""
    one, rest = divmod(uniform * len(alike), 1.0)
    other = int(rest * (len(alike) - 1))
    drawn = alike[[int(one), other + (other >= one)]]
    return int(drawn[int(view.latency_ms.take(drawn).argmin())])
