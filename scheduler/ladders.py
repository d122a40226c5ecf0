"""A task's variants on one tier as a station is offered them, from what the catalogue has measured; pure."""

from __future__ import annotations

from registry.catalogue import Catalogue
from registry.model import LEVELS, Profile
from scheduler.batching import LEVEL, Service
from scheduler.switching import Option
from scheduler.work import Ladder, Measured, Rung

_MEDIAN, _TAIL = LEVELS.index(0.50), LEVELS.index(LEVEL)


def measured(profile: Profile) -> Measured:
    """A profile's service times as a station counts with them."""
    return tuple((s.rows, s.latency.ms[_MEDIAN] / 1e3, s.latency.ms[_TAIL] / 1e3) for s in profile.service)


def load_s(profile: Profile) -> float:
    """Seconds that loading takes, at the median."""
    return profile.load.ms[_MEDIAN] / 1e3


def ladder_of(catalogue: Catalogue, task: str, tier: str) -> Ladder:
    """The variants that are measured on a tier, most accurate first; none where nothing is.

    Raises NotFound for an unknown task.
    """
    rungs = []
    for variant in catalogue.variants_of(catalogue.task(task).name):
        placements = [p for p in catalogue.placements_of(task) if (p.variant, p.tier) == (variant.id, tier)]
        profiles = {p.threads: catalogue.profiles[p.id] for p in placements if p.id in catalogue.profiles}
        if profiles:
            most = max(p.max_batch for p in placements)
            service = {threads: measured(profile) for threads, profile in profiles.items()}
            rungs.append(Rung(variant.name, variant.accuracy.value, most, service, max(map(load_s, profiles.values()))))
    return Ladder(task, tuple(sorted(rungs, key=lambda rung: (-rung.accuracy, rung.variant))))


def options_of(ladder: Ladder) -> list[Option]:
    """Every measured way to run a ladder's variants, as if all were loaded."""
    return [
        Option(rung, threads, Service(times))
        for rung in ladder.rungs
        for threads, times in sorted(rung.service.items())
    ]
