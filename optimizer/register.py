"""Registers a task: makes its variants, measures them on every tier, and publishes all of it at once or nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from optimizer.backend import Backend
from optimizer.bench import Bench
from optimizer.errors import MeasurementFailed, NothingRegistered
from optimizer.make import Failure, Made, make_all, share_pool
from optimizer.plan import FULL, Plan
from optimizer.profile import expected_steps, profile_tier
from optimizer.progress import Progress, Steps
from optimizer.registration import Registration
from registry.blobs import Blobs
from registry.catalogue import Catalogue
from registry.model import Placement, Profile, Task, Tier, Variant
from registry.store import Store, update


@dataclass(frozen=True, slots=True)
class Registered:
    """What a registration published, and which variants it left out."""

    task: Task
    version: int
    """Of the catalogue that has it."""
    variants: tuple[Variant, ...]
    placements: tuple[Placement, ...]
    profiles: tuple[Profile, ...]
    """In the order of `placements`."""
    failures: tuple[Failure, ...]
    seconds: float


async def register(
    registration: Registration,
    store: Store,
    blobs: Blobs,
    backends: Mapping[str, Backend],
    *,
    progress: Progress | None = None,
    plan: Plan = FULL,
    clock: Callable[[], float] = time.monotonic,
) -> Registered:
    """Make, measure and publish the variants of a task on the tiers of its registration.

    `backends` are by tier name, and `clock` is theirs. A variant that cannot be made is left out and reported; any
    other failure is raised and nothing is published, though blobs may stay. A task registered before is replaced,
    with its variants and profiles, in the new version; its older versions stay in the store. Raises InvalidEvaluation,
    NothingRegistered, MeasurementFailed, and what the store and the backends raise.
    """
    started = clock()
    task, chosen = registration.task, registration.tiers
    missing = [tier.name for tier in chosen if tier.name not in backends]
    if missing:
        raise MeasurementFailed(f"there is no backend for {', '.join(missing)}; have {sorted(backends)}")
    steps = Steps(progress)
    steps.expect(len(registration.models))
    share_pool(chosen)
    made, failures = await make_all(registration, blobs, steps)
    if not made:
        raise NothingRegistered([f"{failure.variant}: {failure.reason}" for failure in failures])
    steps.expect(len(chosen) * expected_steps([m.candidate for m in made], plan))
    measured = [
        pair
        for tier in chosen
        for pair in await _profile(made, Bench(backends[tier.name], registration.evaluation, clock), plan, steps)
    ]
    variants = tuple(m.candidate.variant for m in made)
    placements, profiles = (tuple(column) for column in zip(*measured, strict=True))
    catalogue = update(
        store,
        partial(
            replaced,
            task=task,
            tiers=chosen,
            variants=variants,
            placements=placements,
            profiles=profiles,
        ),
        note=f"register {task.name}: {len(variants)} variants on {len(chosen)} tiers",
    )
    return Registered(task, catalogue.version, variants, placements, profiles, tuple(failures), clock() - started)


def replaced(
    old: Catalogue,
    *,
    task: Task,
    tiers: Sequence[Tier],
    variants: Sequence[Variant],
    placements: Sequence[Placement],
    profiles: Sequence[Profile],
) -> Catalogue:
    """`old` with everything about one task replaced by these facts, and other tasks as they were."""
    base = old.without_task(task.name) if task.name in old.tasks else old
    return (
        base.with_tasks(task)
        .with_tiers(*tiers)
        .with_variants(*variants)
        .with_placements(*placements)
        .with_profiles(*profiles)
    )


async def _profile(made: Sequence[Made], bench: Bench, plan: Plan, steps: Steps) -> list[tuple[Placement, Profile]]:
    memory = {(m.candidate.variant.id, form): mb for m in made for form, mb in m.memory_mb.items()}
    return await profile_tier(bench, [m.candidate for m in made], memory, plan, steps=steps)
