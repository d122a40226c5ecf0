"""Registers a task: makes its variants, measures them on every tier, and publishes all of it at once or nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

from optimizer.backend import Backend
from optimizer.doubts import doubts
from optimizer.errors import MeasurementFailed, NothingRegistered
from optimizer.evaluation import Evaluation, check_apart, check_rows, split
from optimizer.family import Failure, Family, make_family
from optimizer.journal import Journal
from optimizer.keep import keep_artifact, keep_sources
from optimizer.make import Made, share_pool
from optimizer.plan import FULL, Plan
from optimizer.profile import expected_steps, profile_tier
from optimizer.progress import Progress, Steps
from optimizer.registration import Registration
from optimizer.selection import select
from optimizer.standing import bench_of
from registry.blobs import Blobs
from registry.blobs.files import Files
from registry.catalogue import Catalogue
from registry.lineage import Sources, Tried
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
    tried: tuple[Tried, ...] = ()
    """Generated variants that came to nothing, or earned no place."""
    warnings: tuple[str, ...] = ()
    """What looks wrong about the evaluation (`optimizer.doubts`)."""


async def register(
    registration: Registration,
    store: Store,
    blobs: Blobs,
    backends: Mapping[str, Backend],
    *,
    progress: Progress | None = None,
    plan: Plan = FULL,
    clock: Callable[[], float] = time.monotonic,
    journal: Journal | None = None,
) -> Registered:
    """Make, measure and publish the variants of a task on the tiers of its registration.

    `backends` are by tier name, and `clock` is theirs. A model that cannot be made is left out and reported; of a
    generated variant that comes to nothing or earns no place the catalogue keeps the reason. Any other failure is
    raised and nothing is published, though blobs of placed variants may stay. A task registered before is replaced,
    with all that was made for it, in the new version; its older versions stay in the store. With a journal, what it
    knows of these very placements is not measured again. Raises InvalidValue, InvalidEvaluation, NothingRegistered,
    MeasurementFailed, and what the store and the backends raise.
    """
    started, steps, tiers = clock(), Steps(progress), registration.tiers
    check_backends(tiers, backends)
    share_pool(tiers)
    registration = _with_rows(registration)
    evaluation = registration.evaluation
    family, made, tried = await _made(registration, blobs, plan, steps)
    measured = await profile_all(
        made, tiers, backends, evaluation=evaluation, plan=plan, steps=steps, clock=clock, journal=journal
    )
    placements, profiles = (tuple(column) for column in zip(*measured, strict=True))
    task, variants = replace(registration.task, judged=evaluation.output), tuple(m.candidate.variant for m in made)
    given = frozenset[Any]().union(*(m.given for m in made))
    warnings = doubts(evaluation, [variant.accuracy for variant in variants], task.metric, given)
    done = Registered(task, 0, variants, placements, profiles, tuple(family.failures), 0.0, tuple(tried), warnings)
    sources = keep_sources(blobs, task, evaluation, registration.calibration, family.models())
    edit = partial(replaced, done=done, tiers=tiers, sources=sources)
    note = f"register {task.name}: {len(variants)} variants on {len(tiers)} tiers"
    return replace(done, version=update(store, edit, note=note).version, seconds=clock() - started)


def replaced(old: Catalogue, *, done: Registered, tiers: Sequence[Tier], sources: Sources) -> Catalogue:
    """`old` with everything about one task replaced by what a registration did, and other tasks as they were."""
    base = old.without_task(done.task.name) if done.task.name in old.tasks else old
    return (
        base.with_tasks(done.task)
        .with_tiers(*tiers)
        .with_variants(*done.variants)
        .with_placements(*done.placements)
        .with_profiles(*done.profiles)
        .with_sources(sources)
        .with_tried(*done.tried)
    )


def check_backends(tiers: Sequence[Tier], backends: Mapping[str, Backend]) -> None:
    """Raise MeasurementFailed when a tier has no backend to measure it through."""
    missing = [tier.name for tier in tiers if tier.name not in backends]
    if missing:
        raise MeasurementFailed(f"there is no backend for {', '.join(missing)}; have {sorted(backends)}")


async def profile_all(
    made: Sequence[Made],
    tiers: Sequence[Tier],
    backends: Mapping[str, Backend],
    *,
    evaluation: Evaluation,
    plan: Plan,
    steps: Steps,
    clock: Callable[[], float],
    journal: Journal | None,
) -> list[tuple[Placement, Profile]]:
    """Every variant measured on every tier that it is for, tier by tier; raises as `profile_tier` does."""
    memory = {(m.candidate.variant.id, form): mb for m in made for form, mb in m.memory_mb.items()}
    candidates = {tier.name: [m.candidate for m in made if m.suits(tier)] for tier in tiers}
    steps.expect(sum(expected_steps(placed, plan) for placed in candidates.values() if placed))
    measured = []
    for tier in tiers:
        if candidates[tier.name]:
            bench = bench_of(backends[tier.name], evaluation, clock)
            measured += await profile_tier(bench, candidates[tier.name], memory, plan, steps=steps, journal=journal)
    return measured


def _with_rows(registration: Registration) -> Registration:
    """With checked calibration rows; when generators are asked for and it has none, with rows set aside for them."""
    if registration.calibration:
        rows = check_rows(registration.calibration, registration.task)
        check_apart(registration.evaluation, rows)
        return replace(registration, calibration=rows)
    if not registration.generate and all(model.onnx is not None for model in registration.models):
        return registration
    evaluation, calibration = split(registration.evaluation)
    return replace(registration, evaluation=evaluation, calibration=calibration)


async def _made(
    registration: Registration, blobs: Blobs, plan: Plan, steps: Steps
) -> tuple[Family, list[Made], list[Tried]]:
    """The family of a registration, its variants that earn their place, and everything that was tried beside them.

    All is made in a folder of its own: only artifacts that are to be placed get into `blobs`.
    """
    with TemporaryDirectory(prefix="modelless-") as scratch:
        workshop = Files(scratch)
        family = await make_family(registration, workshop, steps)
        if not family.registered:
            raise NothingRegistered([f"{failure.variant}: {failure.reason}" for failure in family.failures])
        dropped = await select(
            [(made, workshop) for made in family.registered],
            [(made, workshop) for made in family.generated],
            tiers=registration.tiers,
            evaluation=registration.evaluation,
            plan=plan,
            steps=steps,
        )
        names = {tried.name for tried in dropped}
        kept = [made for made in family.made if made.name not in names]
        for made in kept:
            keep_artifact(made.candidate.variant.artifact, workshop, blobs)
    return family, kept, [*family.tried, *dropped]
