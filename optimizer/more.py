"""Adds one generated variant to a published task, from what its registration kept; changes nothing else of the task."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from tempfile import TemporaryDirectory

from optimizer.backend import Backend
from optimizer.errors import MeasurementFailed, Superseded
from optimizer.evaluation import Evaluation
from optimizer.generate.compile_ import runs_here
from optimizer.generate.generated import Parameters, Parent
from optimizer.generate.table import GENERATORS
from optimizer.keep import keep_artifact, kept_calibration, kept_evaluation
from optimizer.make import Made, memory_of
from optimizer.paired import Pair, as_published
from optimizer.plan import FULL, Plan
from optimizer.profile import Candidate, expected_steps, profile_tier
from optimizer.progress import Progress, Steps
from optimizer.proposals import Generators, attempt, variant_name
from optimizer.registration import Model, Registration
from optimizer.selection import select
from optimizer.standing import bench_of
from registry.blobs import Blobs
from registry.blobs.files import Files
from registry.catalogue import Catalogue
from registry.errors import NotFound
from registry.lineage import Sources, Tried
from registry.model import Placement, Profile, Recipe, Tier, TierKind, Variant
from registry.store import Store, update


def parent_of(catalogue: Catalogue, blobs: Blobs, task: str, name: str) -> Parent:
    """A registered variant of a task with its ONNX bytes and the calibration rows, for a generator.

    Raises NotFound for a task whose sources were not kept, or a variant that was not registered.
    """
    sources = sources_of(catalogue, task)
    digest = sources.model(name)
    if digest is None:
        raise NotFound("registered variant", f"{task}/{name}")
    found = catalogue.task(task)
    return Parent(name, blobs.get(digest), found, kept_calibration(blobs, found, sources))


def sources_of(catalogue: Catalogue, task: str) -> Sources:
    """What a task was registered from; raises NotFound."""
    catalogue.task(task)
    if task not in catalogue.sources:
        raise NotFound("sources of task", task)
    return catalogue.sources[task]


def proposal(catalogue: Catalogue, task: str, parent: str, suffix: str, recipe: tuple[str, Parameters]) -> Model:
    """A variant to make of a registered one, as `register_more` takes it: named, and with its parent's largest batch.

    `recipe` is a generator and its parameters. A variant of the same name is replaced.
    """
    generator, parameters = recipe
    alone = len(sources_of(catalogue, task).models) == 1
    placements = [p for p in catalogue.placements_of(task) if p.variant == f"{task}/{parent}"]
    return Model(
        variant_name(parent, suffix, alone=alone, taken={parent}),
        None,
        Recipe(generator, parent, tuple(sorted(parameters.items()))),
        max_batch=max((placement.max_batch for placement in placements), default=64),
    )


async def register_more(
    task: str,
    model: Model,
    store: Store,
    blobs: Blobs,
    backends: Mapping[str, Backend],
    *,
    progress: Progress | None = None,
    plan: Plan = FULL,
    clock: Callable[[], float] = time.monotonic,
    generators: Generators = GENERATORS,
) -> Variant | Tried:
    """Make the variant that the recipe of `model` describes, measure it on the task's tiers, and publish it.

    Its times are published as they would be on the machine that its parent was measured on (`paired.as_published`).
    Its parent is a registered variant; tiers without a backend are left out. What cannot be made, or is on no axis
    better than a variant that exists, is published as tried, with the reason. Blocks no loop: making and comparing
    happen on threads. Raises NotFound for a task or a parent without sources, MeasurementFailed, Superseded when the
    task was registered again meanwhile, and what the store and the backends raise.
    """
    catalogue = store.load()
    sources, steps = sources_of(catalogue, task), Steps(progress)
    parent = parent_of(catalogue, blobs, task, model.recipe.parent or "")
    registration = _registration(catalogue, blobs, task, backends)
    with TemporaryDirectory(prefix="modelless-") as scratch:
        workshop = Files(scratch)
        steps.expect(1)
        attempted = await asyncio.to_thread(attempt, model, parent, registration, workshop, generators)
        steps.step(f"{model.name}: made and judged")
        made = attempted if isinstance(attempted, Tried) else attempted[1]
        if isinstance(made, Made):
            others = await asyncio.to_thread(_published, catalogue, blobs, task, model.name, registration.evaluation)
            made = await _compared((made, workshop), [(other, blobs) for other in others], registration, plan, steps)
        if isinstance(made, Tried):
            update(store, partial(_with_tried, tried=made, sources=sources), note=f"tried {made.id}: {made.reason}")
            return made
        variant = made.candidate.variant
        keep_artifact(variant.artifact, workshop, blobs)
    measured = await _measured(made, catalogue, registration, backends, plan=plan, steps=steps, clock=clock)
    edit = partial(_with_variant, variant=variant, measured=measured, sources=sources)
    update(store, edit, note=f"add {variant.id}, by {variant.recipe.generator}")
    return variant


async def _compared(
    made: tuple[Made, Blobs],
    others: Sequence[tuple[Made, Blobs]],
    registration: Registration,
    plan: Plan,
    steps: Steps,
) -> Made | Tried:
    """A variant that earns its place beside the others, or why not."""
    tiers, evaluation = registration.tiers, registration.evaluation
    dropped = await select(others, [made], tiers=tiers, evaluation=evaluation, plan=plan, steps=steps)
    return dropped[0] if dropped else made[0]


async def _measured(
    made: Made,
    catalogue: Catalogue,
    registration: Registration,
    backends: Mapping[str, Backend],
    *,
    plan: Plan,
    steps: Steps,
    clock: Callable[[], float],
) -> list[tuple[Placement, Profile]]:
    """The variant's placement and profile on each tier that it is for, measured in turn with its parent's."""
    found, variant = [], made.candidate.variant
    tiers = [tier for tier in registration.tiers if made.suits(tier)]
    steps.expect(sum(expected_steps([made.candidate] * 2, plan) for _ in tiers))
    for tier in tiers:
        parent = _placed(catalogue, f"{variant.task}/{variant.recipe.parent}", tier)
        candidates = [made.candidate, *_candidates(catalogue, parent)]
        memory = {(variant.id, form): mb for form, mb in made.memory_mb.items()}
        memory |= {(p.variant, p.prepack): catalogue.profiles[p.id].memory_mb for p in parent}
        bench = bench_of(backends[tier.name], registration.evaluation, clock)
        (placement, profile), *beside = await profile_tier(bench, candidates, memory, plan, steps=steps)
        for _, now in beside:
            profile = as_published(profile, Pair(catalogue.profiles[now.placement], now))
        found.append((placement, profile))
    return found


def _placed(catalogue: Catalogue, id_: str, tier: Tier) -> list[Placement]:
    """A variant's measured placement on a tier, if it has one."""
    task = id_.partition("/")[0]
    return [
        p
        for p in catalogue.placements_of(task)
        if (p.variant, p.tier) == (id_, tier.name) and p.id in catalogue.profiles
    ][:1]


def _candidates(catalogue: Catalogue, placements: Sequence[Placement]) -> list[Candidate]:
    return [Candidate(catalogue.variants[p.variant], p.max_batch, p.threads, p.prepack) for p in placements]


def _with_variant(
    old: Catalogue, *, variant: Variant, measured: list[tuple[Placement, Profile]], sources: Sources
) -> Catalogue:
    _check_current(old, sources)
    placements, profiles = (tuple(column) for column in zip(*measured, strict=True))
    return old.without_tried(variant.id).with_variants(variant).with_placements(*placements).with_profiles(*profiles)


def _with_tried(old: Catalogue, *, tried: Tried, sources: Sources) -> Catalogue:
    _check_current(old, sources)
    return old.with_tried(tried)


def _check_current(catalogue: Catalogue, sources: Sources) -> None:
    if catalogue.sources.get(sources.task) != sources:
        raise Superseded(sources.task)


def _registration(catalogue: Catalogue, blobs: Blobs, task: str, backends: Collection[str]) -> Registration:
    """What a published task was registered from, but its models, on those of its tiers that can be measured."""
    found, sources = catalogue.task(task), sources_of(catalogue, task)
    placed = {placement.tier for placement in catalogue.placements_of(task)}
    names = placed & set(backends)
    if not names:
        raise MeasurementFailed(f"there is no backend for {', '.join(sorted(placed))}; have {sorted(backends)}")
    return Registration(
        task=found,
        evaluation=kept_evaluation(blobs, found, sources),
        calibration=kept_calibration(blobs, found, sources),
        models=(),
        tiers=tuple(tier for name, tier in catalogue.tiers.items() if name in names),
    )


def _published(catalogue: Catalogue, blobs: Blobs, task: str, beside: str, evaluation: Evaluation) -> list[Made]:
    """A task's variants but one, as far as they run on this machine's CPU, ready to be compared."""
    made = []
    for variant in catalogue.variants_of(task):
        placements = [p for p in catalogue.placements_of(task) if p.variant == variant.id]
        kinds = frozenset(catalogue.tiers[p.tier].kind for p in placements)
        if variant.name == beside or not runs_here(variant.recipe) or not kinds - {TierKind.GPU}:
            continue
        most = max(p.max_batch for p in placements)
        prepack = None if any(p.prepack for p in placements) else False
        memory = memory_of(blobs, variant.artifact, evaluation.batch(most))
        made.append(Made(Candidate(variant, most, None, prepack), memory, kinds))
    return made
