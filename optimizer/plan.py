"""How much is measured: which batch sizes, how often, and for how long; measures nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.quantiles import relative_width


@dataclass(frozen=True, slots=True)
class Plan:
    """Bounds on the measuring of one tier.

    A cell is one placement at one batch size. It ends when the 95 % intervals of its median and of its 95th percentile
    are narrow enough, or when it has `most` samples, or `least` of them and has used up its time; so steady cells end
    early, fast ones get many samples, and slow ones do not hold up the rest.
    """

    rows: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    extra: int = 3
    """Batch sizes to add to a placement, where its times are foreseen worst from the sizes around."""
    batch_error: float = 0.15
    """Relative error of a size that is left out, from which on one is added. Half the distance between sizes has some
    quarter of the error, and what is left then is less than the machine's drift."""
    starts: int = 5
    """Rounds of cold starts, in each of which every variant is loaded anew."""
    most_starts: int = 20
    """Cold starts of the tier at most, when INIT's median is not known well enough by then."""
    alone: bool = True
    """Whether each placement also has an environment of its own: one more cold start, and its peak memory."""
    cell_s: float = 0.2
    least: int = 20
    most: int = 400
    burst: int = 5
    """Runs of one cell before it is another's turn; small, so that drift of the machine hits all cells alike."""
    median_width: float = 0.10
    """Width of the median's interval, as a share of the median, that is narrow enough: two medians of equal work on a
    shared machine differ by as much (`prepack.GAIN`), so more samples in a row would not tell more."""
    tail_width: float = 0.30
    """The same for the 95th percentile: a service time that moved by 20 % is then still told from one that did not,
    which live outcomes take over from."""
    trials: int = 12
    """Runs with and without pre-packing, at the smallest and the largest batch, to choose between them."""

    def sizes(self, max_batch: int) -> tuple[int, ...]:
        """The batch sizes to measure up to `max_batch`, which is always one of them."""
        return tuple(sorted({1, max_batch, *(rows for rows in self.rows if rows <= max_batch)}))

    def enough(self, samples_ms: Sequence[float]) -> bool:
        """Whether a cell with these samples has ended."""
        if len(samples_ms) < self.least:
            return False
        return len(samples_ms) >= self.most or sum(samples_ms) >= self.cell_s * 1e3 or self._narrow(samples_ms)

    def _narrow(self, samples_ms: Sequence[float]) -> bool:
        ordered = sorted(samples_ms)
        return relative_width(ordered, 0.95) <= self.tail_width and relative_width(ordered, 0.50) <= self.median_width


FULL = Plan()
QUICK = Plan(rows=(1, 8, 64), extra=1, starts=2, most_starts=2, alone=False, cell_s=0.03, least=5, most=100, trials=4)
"""For demonstrations and tests: the same facts with wider uncertainty."""
