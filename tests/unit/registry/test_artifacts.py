"""Artifacts: a graph and its tensors, each stored once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from registry.artifacts import Manifest, TensorBlob, read_manifest, write_artifact
from registry.blobs import digest_of
from registry.blobs.files import Files
from registry.errors import DigestMismatch, InvalidValue, NotFound


@pytest.fixture
def blobs(tmp_path: Path) -> Files:
    return Files(tmp_path)


def _tensor(blobs: Files, name: str, data: bytes) -> TensorBlob:
    return TensorBlob(name, blobs.put(data), len(data))


def test_an_artifact_is_read_as_it_was_written(blobs: Files) -> None:
    tensors = (_tensor(blobs, "a", b"A" * 2000), _tensor(blobs, "b", b"B" * 2000))
    digest = write_artifact(blobs, b"graph", tensors)
    manifest = read_manifest(blobs, digest)
    assert manifest == Manifest(digest_of(b"graph"), tensors)
    assert manifest.digests == (digest_of(b"graph"), tensors[0].digest, tensors[1].digest)
    assert blobs.get(manifest.graph) == b"graph"


def test_the_digest_does_not_depend_on_the_order_of_tensors(blobs: Files) -> None:
    tensors = [_tensor(blobs, name, name.encode() * 2000) for name in "cab"]
    assert write_artifact(blobs, b"graph", tensors) == write_artifact(blobs, b"graph", reversed(tensors))


def test_variants_that_share_a_tensor_store_it_once(blobs: Files) -> None:
    shared = _tensor(blobs, "body", b"W" * 10_000)
    one = write_artifact(blobs, b"graph one", [shared])
    two = write_artifact(blobs, b"graph two", [TensorBlob("other.name", blobs.put(b"W" * 10_000), 10_000)])
    assert one != two
    assert len(list(blobs.digests())) == 1 + 2 + 2


def test_a_blob_used_twice_is_listed_once() -> None:
    tensor = TensorBlob("a", digest_of(b"t"), 1)
    assert Manifest(digest_of(b"g"), (tensor, TensorBlob("b", tensor.digest, 1))).digests == (
        digest_of(b"g"),
        tensor.digest,
    )


def test_a_tensor_without_its_blob_is_refused_before_anything_is_written(blobs: Files) -> None:
    with pytest.raises(NotFound):
        write_artifact(blobs, b"graph", [TensorBlob("a", digest_of(b"never put"), 9)])
    assert list(blobs.digests()) == []


def test_a_damaged_manifest_is_refused(blobs: Files) -> None:
    digest = write_artifact(blobs, b"graph")
    file = blobs.path(digest)
    file.chmod(0o644)
    file.write_bytes(file.read_bytes().replace(b"graph", b"grape"))
    with pytest.raises(DigestMismatch):
        read_manifest(blobs, digest)


@pytest.mark.parametrize(
    "document",
    [
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'"text"',
        json.dumps({"format": "other", "graph": digest_of(b""), "tensors": []}).encode(),
        json.dumps({"format": "modelless-artifact-1", "graph": "../etc/passwd", "tensors": []}).encode(),
        json.dumps({"format": "modelless-artifact-1", "graph": 3, "tensors": []}).encode(),
        json.dumps({"format": "modelless-artifact-1", "graph": digest_of(b""), "tensors": [{"name": "a"}]}).encode(),
        json.dumps(
            {
                "format": "modelless-artifact-1",
                "graph": digest_of(b""),
                "tensors": [{"name": "a", "digest": digest_of(b""), "nbytes": -1}],
            }
        ).encode(),
    ],
)
def test_a_blob_that_is_no_manifest_is_refused(blobs: Files, document: bytes) -> None:
    with pytest.raises(InvalidValue, match="register the variant again"):
        read_manifest(blobs, blobs.put(document))
