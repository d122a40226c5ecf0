"""A public trace as arrivals, whole or of some of its functions; it reads each file once and writes none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from simulator import traces
from simulator.arrivals import Floats, of_counts, of_stamps

KEPT = 4
"""Traces that stay in memory: a scenario rarely replays more, and its runs read the same."""


class Recording(Protocol):
    """What a trace holds, told apart by function where the trace tells them apart."""

    @property
    def names(self) -> tuple[str, ...]:
        """Functions or applications; empty where all requests are alike."""

    def times(self, chosen: Sequence[int] | None = None, *, until_s: float = np.inf, seed: int = 0) -> Floats:
        """Arrivals (s from the trace's start, ascending) of the chosen functions, by number, or of all.

        Those before `until_s` are among them; where a trace only counts, `seed` draws when within a bin they came.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """A trace that counts requests in bins."""

    names: tuple[str, ...]
    counts: traces.Ints
    """(names, bins), or (1, bins) without names."""
    width_s: float

    def times(self, chosen: Sequence[int] | None = None, *, until_s: float = np.inf, seed: int = 0) -> Floats:
        """See Recording."""
        bins = self.counts.shape[1]
        wanted = bins if until_s / self.width_s >= bins else int(np.ceil(until_s / self.width_s))
        rows = self.counts if chosen is None else self.counts[list(chosen)]
        return of_counts(rows[:, :wanted].sum(axis=0), seed=seed, width_s=self.width_s)


@dataclass(frozen=True, slots=True, eq=False)
class Stamped:
    """A trace that stamps every request."""

    names: tuple[str, ...]
    stamps_s: Floats
    """Ascending, the trace's first at 0."""
    of: traces.Ints
    """The function of each, by number; all 0 without names."""

    def times(self, chosen: Sequence[int] | None = None, *, until_s: float = np.inf, seed: int = 0) -> Floats:
        """See Recording; nothing is drawn."""
        del until_s, seed
        return self.stamps_s if chosen is None else self.stamps_s[np.isin(self.of, list(chosen))]


def _azure_2019(path: Path) -> Recording:
    found = traces.azure_2019(path)
    return Counted(found.names, found.counts, 60.0)


def _azure_2021(path: Path) -> Recording:
    found = traces.azure_2021(path)
    number = {name: i for i, name in enumerate(dict.fromkeys(found.functions))}
    order = np.argsort(found.starts_s, kind="stable")
    of = np.array([number[name] for name in found.functions], dtype=np.int64)
    return Stamped(tuple(number), of_stamps(found.starts_s), of[order])


def _alike(stamps_s: Floats) -> Recording:
    return Stamped((), of_stamps(stamps_s), np.zeros(len(stamps_s), dtype=np.int64))


FORMATS: Mapping[str, Callable[[Path], Recording]] = {
    "azure_2019": _azure_2019,
    "azure_2021": _azure_2021,
    "azure_llm": lambda path: _alike(traces.azure_llm(path).stamps_s),
    "per_second": lambda path: Counted((), traces.per_second(path).reshape(1, -1), 1.0),
    "stamps": lambda path: _alike(traces.stamps(path)),
}


@lru_cache(KEPT)
def recording(form: str, path: Path) -> Recording:
    """What the file holds, in a format of FORMATS; raises ValueError naming file and line, and OSError."""
    return FORMATS[form](path)
