"""How much is measured: which batch sizes, how often, and for how long; measures nothing itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """Bounds on the measuring of one tier.

    A cell is one placement at one batch size. It ends when it has `most` samples, or `least` of them and has used
    up its time; so fast cells get many samples, and slow ones do not hold up the rest.
    """

    rows: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    starts: int = 5
    """Cold starts of an environment; every variant is loaded anew in each."""
    cell_s: float = 0.1
    least: int = 10
    most: int = 100
    burst: int = 5
    """Runs of one cell before it is another's turn; small, so that drift of the machine hits all cells alike."""
    trials: int = 12
    """Runs with and without pre-packing, at the smallest and the largest batch, to choose between them."""

    def sizes(self, max_batch: int) -> tuple[int, ...]:
        """The batch sizes to measure up to `max_batch`, which is always one of them."""
        return tuple(sorted({1, max_batch, *(rows for rows in self.rows if rows <= max_batch)}))


FULL = Plan()
QUICK = Plan(rows=(1, 8, 64), starts=2, cell_s=0.03, least=5, most=30, trials=4)
"""For demonstrations and tests: the same facts with wider uncertainty."""
