"""The two fixed choices of a user without a scheduler: the best variant on the largest function, and the cheapest."""

from __future__ import annotations

from collections.abc import Iterable

from registry.catalogue import Catalogue
from registry.model import Placement, Slo, StartMode
from simulator.policies.options import FUNCTIONS, Option, fastest, feasible, options
from simulator.policies.tracking import UNANSWERABLE, Baseline
from simulator.policy import Action, Invoke, Job, Reject


class Static(Baseline):
    """Every job at once to one placement; a subclass says which."""

    def __init__(self, catalogue: Catalogue) -> None:
        super().__init__(catalogue)
        self._chosen: dict[tuple[str, Slo], Placement | None] = {}

    def choose(self, found: list[Option], slo: Slo) -> Option:
        """The placement for a task's requests with these bounds; `found` is not empty."""
        raise NotImplementedError

    def arrive(self, job: Job, now: float) -> Iterable[Action]:
        """Invoke the one placement."""
        key = job.request.task, job.request.slo
        if key not in self._chosen:
            found = list(options(self.catalogue, key[0], key[1].percentile, FUNCTIONS))
            self._chosen[key] = self.choose(found, key[1]).placement if found else None
        placement = self._chosen[key]
        return [Reject(job, UNANSWERABLE)] if placement is None else [Invoke(placement, (job,))]


class StaticBest(Static):
    """The most accurate variant on the largest function, started on demand: whoever asks for quality and no more."""

    name = "static_best"

    def choose(self, found: list[Option], slo: Slo) -> Option:
        """Whatever its bounds."""
        return max(found, key=lambda o: (o.accuracy, o.tier.memory_mb, o.tier.start_mode is StartMode.ONDEMAND, o.id))


class StaticCheapest(Static):
    """The cheapest placement whose warm profile holds the bounds, or else the fastest of all."""

    name = "static_cheapest"

    def choose(self, found: list[Option], slo: Slo) -> Option:
        """By the price of one warm run."""
        holding = feasible(found, slo)
        return min(holding, key=_price) if holding else fastest(found)


def _price(option: Option) -> tuple[float, bool, str]:
    """A snapshot's restore costs more than a start on demand, where a warm run costs the same."""
    return option.usd(1), option.tier.start_mode is not StartMode.ONDEMAND, option.id
