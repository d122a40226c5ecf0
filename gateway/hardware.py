"""What of a catalogue does not hold on this machine: it is flagged or kept from running, and never measured here."""

from __future__ import annotations

import logging
from collections.abc import Callable

from gateway.snapshots import Snapshots
from optimizer.fingerprint import fingerprint, stale, unfit
from registry.catalogue import Catalogue
from scheduler.events import VariantQuarantined

log = logging.getLogger(__name__)


def stale_here(catalogue: Catalogue) -> frozenset[str]:
    """The placements on tiers of this machine whose profiles were taken on another; by id, once per snapshot.

    They are used all the same, as what is best known: live outcomes correct them.
    """
    return catalogue.derived(stale_here, lambda snapshot: stale(snapshot, fingerprint()))


def warn_of_stale(catalogue: Catalogue) -> None:
    """Log one warning that names the tasks with stale profiles and what to run, if there are any."""
    tasks = sorted({catalogue.placements[id_].task for id_ in stale_here(catalogue)})
    if tasks:
        log.warning(
            "profiles of %s were taken on other hardware and are used until they are measured again: %s",
            ", ".join(tasks),
            "; ".join(f"modelless profile {task}" for task in tasks),
        )


def quarantine_unfit(snapshots: Snapshots, clock: Callable[[], float]) -> None:
    """Keep variants from running that were compiled for a CPU that this machine does not have: they answer wrongly."""
    catalogue, fleet = snapshots.view()
    for variant, reason in unfit(catalogue, fingerprint()).items():
        if variant not in fleet.quarantined:
            log.warning("variant %s is quarantined: %s", variant, reason)
            snapshots.emit(VariantQuarantined(variant, reason, clock()))
