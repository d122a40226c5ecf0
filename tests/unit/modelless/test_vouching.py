"""What a publisher adds to variants: each has its binding, and its signature where there is a signer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import pytest

from modelless.vouching import vouched
from optimizer.profile import Candidate
from optimizer.transfer import Moved
from registry.artifacts import write_artifact
from registry.blobs.files import Files
from registry.blobs.s3 import S3Blobs
from registry.lineage import Sources
from registry.model import Accuracy, Recipe, Task, TensorSpec, Variant
from registry.provenance import follow

SPEC = (TensorSpec("x", "FP32", (-1,)),)


class Stamp:
    """Signs by writing its name."""

    def sign(self, artifact: str) -> str:
        return f"signed {artifact}"


@pytest.fixture
def places(tmp_path: Path, aws: None) -> tuple[Files, S3Blobs]:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="blobs")
    s3.put_bucket_versioning(Bucket="blobs", VersioningConfiguration={"Status": "Enabled"})
    (tmp_path / "here").mkdir()
    return Files(tmp_path / "here"), S3Blobs("blobs", tmp_path / "cache", client=s3)


def moved(artifact: str) -> Moved:
    variant = Variant("t", "v", artifact, Recipe("train"), Accuracy(0.9, 0.9, 0.9, 9, "wilson"))
    candidate = Candidate(variant, 8, None, None)
    sources: Any = Sources("t", "blake3:" + "0" * 64, None, ())
    return Moved(Task("t", SPEC, SPEC, "accuracy"), sources, (variant,), (), (), {"a": (candidate,)}, (), ())


def test_what_is_measured_and_what_is_published_carry_the_same(places: tuple[Files, S3Blobs]) -> None:
    source, target = places
    artifact = write_artifact(source, b"graph")
    write_artifact(target, b"graph")
    steps: list[tuple[str, int, int]] = []
    (found,) = vouched([moved(artifact)], source, target, Stamp(), lambda *step: steps.append(step))
    assert [(done, total) for _, done, total in steps] == [(1, 1)]

    (variant,) = found.variants
    assert variant.signature == f"signed {artifact}"
    follow(target, variant.binding, artifact)
    assert found.missing["a"][0].variant == variant


def test_without_a_signer_nothing_is_signed(places: tuple[Files, S3Blobs]) -> None:
    source, target = places
    artifact = write_artifact(source, b"graph")
    write_artifact(target, b"graph")
    (found,) = vouched([moved(artifact)], source, target, None)

    assert found.variants[0].signature == ""
    assert found.variants[0].binding
