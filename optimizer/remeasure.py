"""Measures a task's published placements again and publishes the new profiles; makes and changes nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from optimizer.backend import Backend
from optimizer.errors import MeasurementFailed
from optimizer.evaluation import Evaluation
from optimizer.journal import Journal
from optimizer.keep import kept_evaluation
from optimizer.make import memory_of, share_pool
from optimizer.plan import FULL, Plan
from optimizer.profile import Candidate, Memory, expected_steps, profile_tier
from optimizer.progress import Progress, Steps
from optimizer.standing import bench_of
from registry.blobs import Blobs
from registry.catalogue import Catalogue
from registry.model import Placement, Profile
from registry.store import Store, update


@dataclass(frozen=True, slots=True)
class Remeasured:
    """What was measured again."""

    task: str
    version: int
    """Of the catalogue that has the new profiles."""
    profiles: tuple[Profile, ...]
    before: tuple[Profile | None, ...]
    """What was known of the same placements, in the same order."""
    seconds: float


async def remeasure(
    task: str,
    store: Store,
    blobs: Blobs,
    backends: Mapping[str, Backend],
    *,
    tiers: Collection[str] = (),
    progress: Progress | None = None,
    plan: Plan = FULL,
    clock: Callable[[], float] = time.monotonic,
    journal: Journal | None = None,
) -> Remeasured:
    """Measure a task's placements on some of its tiers (none: on all that there is a backend for), and publish.

    `backends` are by tier name, and `clock` is theirs. Either all profiles are published, in one release, or none;
    those of placements that were replaced meanwhile are left out. Raises NotFound for an unknown task,
    MeasurementFailed when there is nothing to measure with or on, and what the store and the backends raise.
    """
    started = clock()
    catalogue = store.load()
    placements = _wanted(catalogue, task, tiers, backends)
    sources = catalogue.sources.get(task)
    if sources is None:
        raise MeasurementFailed(f"the rows that {task} was judged on were not kept; register it again")
    evaluation = kept_evaluation(blobs, catalogue.tasks[task], sources)
    steps = Steps(progress)
    share_pool([catalogue.tiers[name] for name in sorted({p.tier for p in placements})])
    memory = await _memory(catalogue, placements, blobs, evaluation, steps)
    measured: list[Profile] = []
    by_tier = _by_tier(catalogue, placements)
    steps.expect(sum(expected_steps(candidates, plan) for candidates in by_tier.values()))
    for name, candidates in by_tier.items():
        bench = bench_of(backends[name], evaluation, clock)
        found = await profile_tier(bench, candidates, memory, plan, steps=steps, journal=journal)
        measured += [profile for _, profile in found]
    published = update(
        store,
        lambda base: base.with_profiles(*(p for p in measured if _same(base, catalogue, p.placement))),
        note=f"profile {task}: {len(measured)} placements on {len(by_tier)} tiers",
    )
    before = tuple(catalogue.profiles.get(profile.placement) for profile in measured)
    return Remeasured(task, published.version, tuple(measured), before, clock() - started)


def _wanted(
    catalogue: Catalogue, task: str, tiers: Collection[str], backends: Mapping[str, Backend]
) -> Sequence[Placement]:
    catalogue.task(task)
    every = catalogue.placements_of(task)
    used = {placement.tier for placement in every}
    if unused := sorted(set(tiers) - used):
        raise MeasurementFailed(f"{task} has no placement on {', '.join(unused)}; it has some on {sorted(used)}")
    if missing := sorted(set(tiers) - set(backends)):
        raise MeasurementFailed(f"there is no backend for {', '.join(missing)}; have {sorted(backends)}")
    wanted = [p for p in every if p.tier in (tiers or backends)]
    if not wanted:
        raise MeasurementFailed(f"{task} has no placement on a tier that there is a backend for: {sorted(backends)}")
    return wanted


async def _memory(
    catalogue: Catalogue, placements: Sequence[Placement], blobs: Blobs, evaluation: Evaluation, steps: Steps
) -> Memory:
    """What a copy of each variant adds, in both forms, at its largest batch."""
    most: dict[str, int] = {}
    for placement in placements:
        most[placement.variant] = max(placement.max_batch, most.get(placement.variant, 0))
    steps.expect(len(most))
    found = {}
    for id_, rows in most.items():
        # On a thread, for backends keep environments alive on this loop.
        by_form = await asyncio.to_thread(memory_of, blobs, catalogue.variants[id_].artifact, evaluation.batch(rows))
        found.update({(id_, form): mb for form, mb in by_form.items()})
        steps.step(f"{id_}: memory")
    return found


def _by_tier(catalogue: Catalogue, placements: Sequence[Placement]) -> dict[str, list[Candidate]]:
    found: dict[str, list[Candidate]] = {}
    for p in placements:
        candidate = Candidate(catalogue.variants[p.variant], p.max_batch, p.threads, p.prepack)
        found.setdefault(p.tier, []).append(candidate)
    return found


def _same(base: Catalogue, then: Catalogue, id_: str) -> bool:
    """Whether a placement is still what was measured."""
    placement = then.placements[id_]
    old, new = then.variants[placement.variant], base.variants.get(placement.variant)
    tier = base.tiers.get(placement.tier)
    return (
        base.placements.get(id_) == placement
        and new is not None
        and new.artifact == old.artifact
        and tier == then.tiers[placement.tier]
    )
