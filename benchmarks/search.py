"""The highest rate that holds, found by asking of one rate after another; pure, it offers no load itself."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt

MOST = 8
"""Questions after which a search ends: steps of 5 % have then gone a factor of four from where it began."""

ROUNDING = 1 + 1e-9


@dataclass(slots=True)
class Search:
    """Steps until one rate held and a higher one did not, then halves what lies between, in logarithms.

    The first step is by the factor `step`, the second by its square, and so on. Raises ValueError unless the rate to
    begin with is positive and the factor above 1.
    """

    rate: float
    """What to ask of next, a second."""
    step: float
    low: float = 0.0
    """The highest rate that held; 0 while none did."""
    high: float = inf
    """The lowest that did not."""
    asked: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.rate < inf or self.step <= 1.0:
            raise ValueError(f"the rate must be positive and the step above 1: {self.rate}, {self.step}")

    def told(self, held: bool) -> None:
        """Whether `rate` held; moves on to the next."""
        self.asked += 1
        if held:
            self.low = self.rate
        else:
            self.high = self.rate
        if self.high == inf:
            self.rate *= self.step**self.asked
        elif not self.low:
            self.rate /= self.step**self.asked
        else:
            self.rate = sqrt(self.low * self.high)

    def found(self, within: float) -> bool:
        """Whether the rates that held and did not are within this factor, or there is nothing to be found."""
        return self.asked >= MOST or (self.low > 0 and self.high <= self.low * within * ROUNDING)
