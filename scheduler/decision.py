"""What was decided and why, as a value; it decides nothing, and works out what it explains only when asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from registry.errors import InvalidValue
from registry.model import Estimate, Slo
from scheduler import reasons
from scheduler.fleet import Fleet
from scheduler.ranking import Ranking
from scheduler.requests import Request


@dataclass(frozen=True, eq=False)
class Decision:
    """A ranked list of placements with what each is expected to do, and why every other one is not chosen."""

    request: Request
    ranked: Ranking
    """Best first: the first is chosen, those after it are its fallbacks; empty only when nothing can run."""
    fleet: Fleet
    now: float
    """The fleet and the time that it was decided on."""

    @property
    def catalogue_version(self) -> int:
        """The version of the catalogue that it was decided on."""
        return self.fleet.layout.catalogue.version

    @property
    def feasible(self) -> bool:
        """Whether the first holds every bound."""
        return self.ranked.held > 0

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
