"""What tasks of one catalogue take to be served on another's tiers: plans it, measures it there, publishes all at once.

Nothing is made, and no figure is carried over but accuracy, which is the variant's: speed is a place's own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from optimizer.backend import Backend
from optimizer.errors import MeasurementFailed
from optimizer.evaluation import Evaluation
from optimizer.journal import Journal
from optimizer.keep import kept_evaluation
from optimizer.make import memory_of
from optimizer.plan import FULL, Plan
from optimizer.profile import Candidate, Memory, expected_steps, profile_tier
from optimizer.progress import Progress, Steps
from optimizer.standing import bench_of
from registry.artifacts import read_manifest
from registry.blobs import Blobs
from registry.catalogue import Catalogue
from registry.isa import PORTABLE
from registry.lineage import Sources, Tried
from registry.model import Placement, Profile, Task, Tier, TierKind, Variant
from registry.store import Store, update

AT_ONCE = 4
"""Blobs on their way at once: each is held in memory meanwhile."""

Measured = tuple[Placement, Profile]


@dataclass(frozen=True, slots=True)
class Moved:
    """One task, and what it takes to have it there."""

    task: Task
    sources: Sources
    variants: tuple[Variant, ...]
    tried: tuple[Tried, ...]
    kept: tuple[Measured, ...]
    """Measured there already, and still true."""
    missing: Mapping[str, tuple[Candidate, ...]]
    """What is to be measured there, by tier."""
    left_out: tuple[tuple[str, str], ...]
    """Names of variants that cannot run there, and why."""
    removed: tuple[str, ...]
    """Names of variants that are there now, and will not be."""

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """`variant on tier`, for each that has no profile there."""
        return tuple(f"{c.variant.id} on {tier}" for tier, found in self.missing.items() for c in found)


@dataclass(frozen=True, slots=True)
class Transferred:
    """What was published."""

    version: int
    measured: Mapping[str, tuple[Measured, ...]]
    """By task, those of this transfer."""
    seconds: float


def foresee(
    here: Catalogue, there: Catalogue, names: Sequence[str], tiers: Sequence[Tier], *, fresh: bool = False
) -> tuple[Moved, ...]:
    """What it takes to have tasks of one catalogue on `tiers` of another; with `fresh`, all is measured anew.

    Raises NotFound for an unknown task, MeasurementFailed for one that nothing could be measured of.
    """
    there = there.with_tiers(*tiers)  # what was measured on what has become another machine falls
    return tuple(_foreseen(here, there, here.task(name), tiers, fresh=fresh) for name in names)


def blobs_of(moved: Iterable[Moved], source: Blobs) -> tuple[str, ...]:
    """The digests of all that tasks need, each once; an artifact's manifest comes after its parts.

    Raises NotFound, DigestMismatch or InvalidValue for an artifact that cannot be read.
    """
    found: dict[str, None] = {}
    for task in moved:
        for variant in task.variants:
            found.update(dict.fromkeys((*read_manifest(source, variant.artifact).digests, variant.artifact)))
        kept = task.sources
        found.update(dict.fromkeys((kept.evaluation, *(model for _, model in kept.models))))
        if kept.calibration is not None:
            found[kept.calibration] = None
    return tuple(found)


def missing_of(digests: Sequence[str], target: Blobs) -> tuple[str, ...]:
    """Those of the digests that the target lacks, in their order."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        present = pool.map(target.has, digests)
        return tuple(digest for digest, there in zip(digests, present, strict=True) if not there)


def carry(digests: Sequence[str], source: Blobs, target: Blobs, progress: Progress | None = None) -> int:
    """Copy blobs and return how many bytes they are; one that fails leaves none half written."""
    steps, total = Steps(progress), 0
    steps.expect(len(digests))

    def one(digest: str) -> int:
        data = source.get(digest)
        target.put(data)
        return len(data)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for size in pool.map(one, digests):
            total += size
            steps.step("blobs")
    return total


async def transfer(
    moved: Sequence[Moved],
    store: Store,
    source: Blobs,
    backends: Mapping[str, Backend],
    *,
    progress: Progress | None = None,
    plan: Plan = FULL,
    clock: Callable[[], float] = time.monotonic,
    journal: Journal | None = None,
    note: str = "",
) -> Transferred:
    """Measure what has no profile there, through `backends` by tier name, and publish every task in one release.

    A task that is there is replaced; its placements on other tiers stay where their variants do. Either all is
    published or nothing. Raises MeasurementFailed, InvalidEvaluation, and what the store and the backends raise.
    """
    started, steps = clock(), Steps(progress)
    tiers = tuple(backend.tier for backend in backends.values())
    steps.expect(sum(expected_steps(found, plan) for task in moved for found in task.missing.values()))
    measured: dict[str, tuple[Measured, ...]] = {}
    for task in moved:
        measured[task.task.name] = await _measured(
            task, source, backends, plan=plan, steps=steps, clock=clock, journal=journal
        )

    def edit(base: Catalogue) -> Catalogue:
        base = base.with_tiers(*tiers)
        for task in moved:
            base = _with(base, task, measured[task.task.name], {tier.name for tier in tiers})
        return base

    return Transferred(update(store, edit, note=note).version, measured, clock() - started)


def _foreseen(here: Catalogue, there: Catalogue, task: Task, tiers: Sequence[Tier], *, fresh: bool) -> Moved:
    sources = here.sources.get(task.name)
    if sources is None:
        raise MeasurementFailed(f"the rows that {task.name} was judged on were not kept; register it again")
    candidates, left_out = _candidates(here, task.name)
    if not candidates:
        reasons = "; ".join(f"{name} {reason}" for name, reason in left_out) or "it has no variant"
        raise MeasurementFailed(f"nothing of {task.name} can run there: {reasons}")
    kept: list[Measured] = []
    missing: dict[str, tuple[Candidate, ...]] = {}
    for tier in tiers:
        known = {c.variant.id: _known(there, c, tier) for c in candidates} if not fresh else {}
        kept += [measured for measured in known.values() if measured is not None]
        if lacking := tuple(c for c in candidates if known.get(c.variant.id) is None):
            missing[tier.name] = lacking
    variants = tuple(candidate.variant for candidate in candidates)
    staying = {variant.name for variant in variants}
    removed = tuple(v.name for v in there.variants_of(task.name) if v.name not in staying)
    return Moved(task, sources, variants, here.tried_of(task.name), tuple(kept), missing, tuple(left_out), removed)


def _candidates(here: Catalogue, task: str) -> tuple[list[Candidate], list[tuple[str, str]]]:
    """What of a task's variants any CPU runs, and of the others the reason why not."""
    found, left_out = [], []
    for variant in here.variants_of(task):
        placed = [p for p in here.placements_of(task) if p.variant == variant.id]
        on_cpus = [p for p in placed if here.tiers[p.tier].kind is not TierKind.GPU]
        level = dict(variant.recipe.parameters).get("level", PORTABLE)
        if level != PORTABLE:
            left_out.append((variant.name, f"is compiled for {level}, and one function meets several kinds of CPU"))
        elif not on_cpus:
            left_out.append((variant.name, "is placed on no tier with a CPU"))
        else:
            prepack = None if any(p.prepack for p in on_cpus) else False
            found.append(Candidate(variant, max(p.max_batch for p in on_cpus), None, prepack))
    return found, left_out


def _known(there: Catalogue, candidate: Candidate, tier: Tier) -> Measured | None:
    """A variant's placement on a tier with its profile, where the very same is measured there."""
    id_ = candidate.variant.id
    if id_ not in there.variants or there.variants[id_].artifact != candidate.variant.artifact:
        return None
    found = [p for p in there.placements_of(candidate.variant.task) if p.variant == id_ and p.tier == tier.name]
    for placement in found:
        if placement.max_batch == candidate.max_batch and placement.id in there.profiles:
            return placement, there.profiles[placement.id]
    return None


async def _measured(
    moved: Moved,
    source: Blobs,
    backends: Mapping[str, Backend],
    *,
    plan: Plan,
    steps: Steps,
    clock: Callable[[], float],
    journal: Journal | None,
) -> tuple[Measured, ...]:
    if not moved.missing:
        return ()
    evaluation = kept_evaluation(source, moved.task, moved.sources)
    memory = await asyncio.to_thread(_memory, moved, source, evaluation)
    measured: list[Measured] = []
    for name, candidates in moved.missing.items():
        bench = bench_of(backends[name], evaluation, clock)
        measured += await profile_tier(bench, candidates, memory, plan, steps=steps, journal=journal)
    return tuple(measured)


def _memory(moved: Moved, source: Blobs, evaluation: Evaluation) -> Memory:
    """What a copy of each variant to measure adds, in both forms: here as there."""
    found = {}
    for candidate in {c.variant.id: c for placed in moved.missing.values() for c in placed}.values():
        by_form = memory_of(source, candidate.variant.artifact, evaluation.batch(candidate.max_batch))
        found.update({(candidate.variant.id, form): mb for form, mb in by_form.items()})
    return found


def _with(base: Catalogue, moved: Moved, measured: Sequence[Measured], tiers: Collection[str]) -> Catalogue:
    """`base` with a task replaced by what was moved; its placements on other tiers stay where their variants do."""
    name = moved.task.name
    artifacts = {variant.id: variant.artifact for variant in moved.variants}
    elsewhere = [
        placement
        for placement in base.placements_of(name)
        if placement.tier not in tiers and base.variants[placement.variant].artifact == artifacts.get(placement.variant)
    ]
    profiles = [base.profiles[p.id] for p in elsewhere if p.id in base.profiles]
    base = base.without_task(name) if name in base.tasks else base
    placed = (*moved.kept, *measured)
    return (
        base.with_tasks(moved.task)
        .with_variants(*moved.variants)
        .with_placements(*elsewhere, *(placement for placement, _ in placed))
        .with_profiles(*profiles, *(profile for _, profile in placed))
        .with_sources(moved.sources)
        .with_tried(*moved.tried)
    )
