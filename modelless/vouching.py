"""What a publisher adds to variants on a stack: the versions of their objects, and a signature; it uploads no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from optimizer.progress import Progress, Steps
from optimizer.transfer import Moved
from registry.blobs import Blobs
from registry.model import Variant
from registry.provenance import BoundBlobs, bind_artifact


class Signer(Protocol):
    """Vouches for artifacts."""

    def sign(self, artifact: str) -> str:
        """The signature over an artifact, by its digest."""


def vouched(
    moved: Sequence[Moved],
    source: Blobs,
    target: BoundBlobs,
    signer: Signer | None,
    progress: Progress | None = None,
) -> tuple[Moved, ...]:
    """What is moved, with each variant's binding and, given a signer, its signature; all its blobs are there.

    Raises NotFound, and Unavailable when the bucket or the key cannot be used.
    """

    steps = Steps(progress)
    steps.expect(sum(len(task.variants) for task in moved))

    def vouch(variant: Variant) -> Variant:
        signature = signer.sign(variant.artifact) if signer else ""
        binding = bind_artifact(source, target, variant.artifact)
        steps.step(variant.id)
        return replace(variant, binding=binding, signature=signature)

    return tuple(_with(task, {variant.id: vouch(variant) for variant in task.variants}) for task in moved)


def _with(task: Moved, variants: dict[str, Variant]) -> Moved:
    missing = {
        tier: tuple(replace(candidate, variant=variants[candidate.variant.id]) for candidate in candidates)
        for tier, candidates in task.missing.items()
    }
    return replace(task, variants=tuple(variants.values()), missing=missing)
