"""How likely a task that was never asked for is to be asked for next, from how it went with those before it; pure.

Each minute that a task waits for its first request has the same chance to bring it. Of that chance nothing is known at
first but that a task is registered to be used: a gamma prior of one first request in a day of waiting, whose posterior
mean is below (Gelman et al., Bayesian Data Analysis, 2013, section 2.6).
"""

from __future__ import annotations

DAY = 1440
"""In minutes."""


class Newcomers:
    """Counts minutes of waiting and what came of them, for all tasks together."""

    def __init__(self) -> None:
        self._waited = DAY
        self._asked = 1

    def close(self, waiting: int, asked: int) -> None:
        """A minute has ended at whose begin so many tasks had never been asked for, of which so many then were."""
        self._waited += waiting
        self._asked += asked

    def ahead(self) -> float:
        """Probability that one of them is asked for in the next minute."""
        return self._asked / self._waited
