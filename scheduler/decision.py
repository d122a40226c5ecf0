"""What was decided and why, as a value; it decides nothing, and works out what it explains only when asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np

from registry.errors import InvalidValue
from registry.model import Estimate, Slo
from scheduler import reasons
from scheduler.estimate import Outlook
from scheduler.fleet import Fleet
from scheduler.quantiles import Floats
from scheduler.requests import Request


class Ranking(Sequence[Estimate]):
    """The runnable placements as estimates, best first; sorted when more than the first is looked at."""

    def __init__(self, outlook: Outlook, excess: Floats, value: Floats, first: int | None) -> None:
        self.outlook = outlook
        self.excess = excess
        self.value = value
        self._first = first
        self._made: dict[int, Estimate] = {}

    def __len__(self) -> int:
        return int(np.count_nonzero(self.outlook.runnable))

    @overload
    def __getitem__(self, index: int) -> Estimate: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Estimate]: ...
    def __getitem__(self, index: int | slice) -> Estimate | Sequence[Estimate]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        if index == 0 and self._first is not None:
            return self.estimate(self._first)
        return self.estimate(int(self.order[index]))

    @cached_property
    def order(self) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        """Columns of the runnable placements, best first: by excess, value, cost, latency, and their order by id."""
        keys = (self.outlook.latency_ms, self.outlook.cost, self.value, self.excess)
        return np.lexsort(keys)[: len(self)]

    def estimate(self, i: int) -> Estimate:
        """The estimate of the placement in column `i`, made once."""
        found = self._made.get(i)
        if found is None:
            found = self._made[i] = self.outlook.estimate(i, self.broken(i))
        return found

    def broken(self, i: int) -> tuple[str, ...]:
        """The bounds that the placement in column `i` is not expected to hold, by SLO field name."""
        slo, view = self.outlook.request.slo, self.outlook
        checks = (
            ("latency_ms", slo.latency_ms is not None and view.latency_ms[i] > slo.latency_ms),
            ("min_accuracy", slo.min_accuracy is not None and view.table.accuracy[i] < slo.min_accuracy),
            ("max_cost_usd", slo.max_cost_usd is not None and view.cost[i] > slo.max_cost_usd),
        )
        return tuple(name for name, breaks in checks if breaks)


@dataclass(frozen=True, eq=False)
class Decision:
    """A ranked list of placements with what each is expected to do, and why every other one is not chosen."""

    request: Request
    catalogue_version: int
    ranked: Ranking
    """Best first: the first is chosen, those after it are its fallbacks; empty only when nothing can run."""
    feasible: bool
    """Whether the first holds every bound."""
    fleet: Fleet
    now: float

    @property
    def broken(self) -> tuple[str, ...]:
        """The bounds, by SLO field name, that the first is not expected to hold; empty when nothing can run."""
        return self.ranked[0].broken if self.ranked else ()

    @cached_property
    def nearest(self) -> Slo | None:
        """When infeasible, the SLO that relaxes the bounds least in total (relatively) and is held now.

        None when feasible, when nothing can run, or when what can run is beyond what an SLO can ask for.
        """
        if self.feasible:
            return None
        return next((slo for e in self.ranked if (slo := _relaxed(self.request.slo, e)) is not None), None)

    @property
    def reason(self) -> str:
        """Why the first is first, or why there is none; one sentence with figures."""
        return reasons.why_first(self)

    def why_not(self) -> Mapping[str, str]:
        """Placement id to the reason why it is not chosen, for every placement of the task but the chosen one."""
        return reasons.why_not(self)


def _relaxed(slo: Slo, estimate: Estimate) -> Slo | None:
    bounds = {
        "latency_ms": estimate.latency_ms,
        "min_accuracy": estimate.accuracy,
        "max_cost_usd": estimate.cost_usd,
    }
    try:
        return slo.with_hints({name: bounds[name] for name in estimate.broken})
    except InvalidValue:
        return None
