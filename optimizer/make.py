"""Models to variants: artifact, measured accuracy and memory, one after another; publishes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimizer.accuracy import Run, measure
from optimizer.artifact import Optimise, make_artifact
from optimizer.evaluation import Evaluation
from optimizer.memory import per_copy_mb
from optimizer.profile import Candidate
from optimizer.registration import Model
from optimizer.signature import check_outputs
from registry.artifacts import read_manifest
from registry.blobs import Blobs
from registry.model import Task, Tier, TierKind, Variant
from runtime.errors import PoolTooLate
from runtime.session import Session, use_global_pool

SEED = 0
"""Of the bootstrap, so that the same variant has the same interval each time."""


@dataclass(frozen=True, slots=True)
class Made:
    """A variant that can be placed."""

    candidate: Candidate
    memory_mb: Mapping[bool, float]
    """Private megabytes of one copy, by whether it is pre-packed."""
    kinds: frozenset[TierKind] | None = None
    """Kinds of tier that it is for; None: all."""
    given: frozenset[Any] = frozenset()
    """Labels that it gave for some row of the evaluation; none where answers are numbers."""

    @property
    def name(self) -> str:
        """The variant's."""
        return self.candidate.variant.name

    def suits(self, tier: Tier) -> bool:
        """Whether it may be placed there."""
        return self.kinds is None or tier.kind in self.kinds


def make(
    task: Task,
    model: Model,
    blobs: Blobs,
    evaluation: Evaluation,
    *,
    optimise: Optimise = Optimise.NOW,
    kinds: frozenset[TierKind] | None = None,
) -> Made:
    """One variant from its ONNX bytes; raises InvalidValue, RuntimeFault or InvalidEvaluation."""
    assert model.onnx is not None
    digest = make_artifact(model.onnx, blobs, optimise=optimise)
    session = Session.open(blobs, digest, threads=model.threads or 1, prepack=True)
    probe = min(3, model.max_batch)
    check_outputs(task, session.run(evaluation.batch(probe)), probe)
    given: set[Any] = set()

    def run(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        outputs = _in_batches(session.run, model.max_batch, inputs)
        if task.metric == "accuracy":
            given.update(outputs[evaluation.output].ravel().tolist())
        return outputs

    accuracy = measure(run, evaluation, task.metric, np.random.default_rng(SEED))
    session.close()
    variant = Variant(task.name, model.name, digest, model.recipe, accuracy, size_of(blobs, digest))
    # Trees keep their numbers in attributes; where there is no tensor, there is nothing to pre-pack.
    prepack = False if model.prepack is None and not read_manifest(blobs, digest).tensors else model.prepack
    candidate = Candidate(variant, model.max_batch, model.threads, prepack)
    return Made(candidate, memory_of(blobs, digest, evaluation.batch(model.max_batch)), kinds, frozenset(given))


def memory_of(blobs: Blobs, digest: str, inputs: Mapping[str, NDArray[Any]]) -> dict[bool, float]:
    """Private megabytes that one copy of an artifact adds, by whether it is pre-packed."""
    return {
        form: per_copy_mb(partial(Session.open, blobs, digest, threads=1, prepack=form), inputs)
        for form in (True, False)
    }


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


def _in_batches(run: Run, most: int, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What `run` gives for inputs of any length, asked for `most` rows at a time."""
    rows = len(next(iter(inputs.values())))
    parts = [run({name: a[start : start + most] for name, a in inputs.items()}) for start in range(0, rows, most)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
