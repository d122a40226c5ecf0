"""Models to variants: artifact, measured accuracy and memory, one after another; publishes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np

from optimizer.accuracy import measure
from optimizer.artifact import make_artifact
from optimizer.evaluation import Evaluation
from optimizer.memory import per_copy_mb
from optimizer.profile import Candidate
from optimizer.progress import Steps
from optimizer.registration import Model, Registration
from optimizer.signature import check_outputs
from registry.artifacts import read_manifest
from registry.blobs import Blobs
from registry.errors import InvalidValue
from registry.model import Task, Tier, TierKind, Variant
from runtime.errors import PoolTooLate, RuntimeFault
from runtime.session import Session, use_global_pool

SEED = 0
"""Of the bootstrap, so that the same variant has the same interval each time."""


@dataclass(frozen=True, slots=True)
class Made:
    """A variant that can be placed."""

    candidate: Candidate
    memory_mb: Mapping[bool, float]
    """Private megabytes of one copy, by whether it is pre-packed."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A variant that could not be made, and why."""

    variant: str
    reason: str


async def make_all(registration: Registration, blobs: Blobs, steps: Steps) -> tuple[list[Made], list[Failure]]:
    """Every model of a registration, and those of which nothing came.

    Raises InvalidEvaluation, for that is no model's own fault.
    """
    made, failures = [], []
    for model in registration.models:
        try:
            # On a thread, for backends keep environments alive on this loop.
            made.append(await asyncio.to_thread(make, registration.task, model, blobs, registration.evaluation))
        except (InvalidValue, RuntimeFault) as fault:
            failures.append(Failure(model.name, str(fault)))
        steps.step(f"{model.name}: made and judged")
    return made, failures


def make(task: Task, model: Model, blobs: Blobs, evaluation: Evaluation) -> Made:
    """One variant from its ONNX bytes; raises InvalidValue, RuntimeFault or InvalidEvaluation."""
    digest = make_artifact(model.onnx, blobs)
    session = Session.open(blobs, digest, threads=model.threads or 1, prepack=True)
    check_outputs(task, session.run(evaluation.batch(3)), 3)
    accuracy = measure(session.run, evaluation, task.metric, np.random.default_rng(SEED))
    variant = Variant(task.name, model.name, digest, model.recipe, accuracy, size_of(blobs, digest))
    inputs = evaluation.batch(model.max_batch)
    memory_mb = {
        form: per_copy_mb(partial(Session.open, blobs, digest, threads=1, prepack=form), inputs)
        for form in (True, False)
    }
    # Trees keep their numbers in attributes; where there is no tensor, there is nothing to pre-pack.
    prepack = False if model.prepack is None and not read_manifest(blobs, digest).tensors else model.prepack
    return Made(Candidate(variant, model.max_batch, model.threads, prepack), memory_mb)


def size_of(blobs: Blobs, digest: str) -> int:
    """The bytes of an artifact's graph and tensors."""
    manifest = read_manifest(blobs, digest)
    return len(blobs.get(manifest.graph)) + sum(tensor.nbytes for tensor in manifest.tensors)


def share_pool(tiers: Sequence[Tier]) -> None:
    """Let the inline tier be measured with the thread pool it serves with: it must precede every session.

    Without an inline tier, or after the first session of the process, nothing changes.
    """
    for tier in tiers:
        if tier.kind is TierKind.INLINE:
            with suppress(PoolTooLate):
                use_global_pool(tier.threads)
