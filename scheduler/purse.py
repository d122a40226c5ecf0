"""What a task has left of the core time that it was given: spend less, and more may be spent; pure.

A price alone cannot mix two variants: at the price at which both are worth the same, one of them is always taken. So
what was given and not spent raises the budget of the next rows, and what was overspent lowers it (a virtual queue, as
in drift-plus-penalty control; Neely, Stochastic Network Optimization, 2010, chapter 4).
"""

from __future__ import annotations

from math import exp, inf


class Purse:
    """Core-seconds on account, between one patience's worth of the cores too many and as many too few."""

    __slots__ = ("_at", "_left")

    def __init__(self) -> None:
        self._left = 0.0
        self._at = -inf

    def give(self, now: float, cores: float, most_s: float) -> float:
        """Give the time of `cores` since the last time; the factor, from 1/e to e, for the budget of rows from now on.

        `most_s` seconds of all cores are the most that is kept, or owed.
        """
        most = cores * most_s
        if 0 < most < inf:
            # What was spent before anything was given is no debt.
            left = self._left + cores * (now - self._at) if self._at > -inf else 0.0
            self._left = max(-most, min(most, left))
        self._at = now
        return exp(self._left / most) if 0 < most < inf else 1.0

    def spend(self, core_s: float) -> None:
        """A run took so many core-seconds, or more or less than was thought."""
        self._left -= core_s
