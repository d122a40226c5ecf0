"""Snapshots of a fleet whose tenants share no environment: each task sees its owner's alone; it keeps no state more.

Lambda's tenant isolation mode gives each tenant environments of its own. What is warm for one is cold for the others.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.snapshots import Snapshots
from registry.catalogue import Catalogue
from scheduler.events import EnvironmentGone
from scheduler.fleet import Fleet


class ApartSnapshots(Snapshots):
    """What an environment holds says whose it is; one that holds nothing is nobody's."""

    def view_for(self, task: str) -> tuple[Catalogue, Fleet]:
        """What is so for one task: the fleet without the environments of other owners."""
        catalogue, fleet = self.view()
        known = catalogue.tasks.get(task)
        return catalogue, fleet.apply_all(_foreign(catalogue, fleet, known.owner if known else ""))


def _foreign(catalogue: Catalogue, fleet: Fleet, owner: str) -> Iterator[EnvironmentGone]:
    for tier, state in zip(fleet.layout.tiers, fleet.tiers, strict=True):
        for name, environment in state.environments.items():
            if owner not in _owners(catalogue, environment.resident):
                yield EnvironmentGone(tier.name, name, "is another tenant's", environment.used_at)


def _owners(catalogue: Catalogue, resident: tuple[str, ...]) -> set[str]:
    names = (variant.partition("/")[0] for variant in resident)
    return {catalogue.tasks[name].owner for name in names if name in catalogue.tasks}
