"""How many environments requests that overlap take, and how many of them find one free; pure."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from scheduler.quantiles import Floats

COPIES_LEVEL = 0.95
"""How often the planned copies suffice for the requests that overlap."""

NEARLY_ALL = 0.99999
"""No more copies are looked at than suffice so often."""


def found_free(load: float, most: int) -> Floats:
    """The part of the requests that find one of 1, 2 and so on to `most` environments free at a load.

    Those that do not are lost to them (Erlang's loss formula, 1917, by its recursion).
    """
    refused, shares = 1.0, []
    for copies in range(1, most + 1):
        refused = load * refused / (copies + load * refused)
        shares.append(1.0 - refused)
    return np.array(shares)


def copies_for(load: float, level: float = COPIES_LEVEL) -> int:
    """Environments that suffice with probability `level` for requests that keep `load` of them busy on average.

    The number that overlap is Poisson (M/G/∞; Kleinrock, Queueing Systems I, 1975, section 3.5); at least one.
    """
    if not 0.0 <= load < math.inf:
        raise ValueError(f"a load of {load} is impossible")
    if load > 500.0:  # where the first term would be no float any more; normal there
        return math.ceil(load + NormalDist().inv_cdf(level) * math.sqrt(load))
    term = total = math.exp(-load)
    copies = 0
    while total < level:
        copies += 1
        term *= load / copies
        total += term
    return max(1, copies)
