"""What was decided and why, as a value; it never decides anything itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from registry.model import Estimate, Slo
from scheduler.requests import Request


@dataclass(frozen=True, eq=False)
class Decision:
    """A ranked list of placements with what each is expected to do, and why every other one is not chosen."""

    request: Request
    catalogue_version: int
    ranked: Sequence[Estimate]
    """Best first: the first is chosen, those after it are its fallbacks; empty only when nothing can run."""
    feasible: bool
    """Whether the first holds every bound."""
    broken: tuple[str, ...]
    """The bounds, by SLO field name, that the first is not expected to hold."""
    nearest: Slo | None
    """When infeasible: the SLO that relaxes the bounds least in total (relatively) and can be held."""
    reason: str
    """Why the first is first."""
    _explain: Callable[[], Mapping[str, str]]

    def why_not(self) -> Mapping[str, str]:
        """Placement id to the reason why it is not chosen, for every placement of the task but the first ranked."""
        return self._explain()
