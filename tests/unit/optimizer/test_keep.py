"""What goes into the blob store comes back equal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from optimizer.evaluation import check
from optimizer.keep import keep_artifact, keep_sources, kept_calibration, kept_evaluation
from registry.artifacts import TensorBlob, read_manifest, write_artifact
from registry.blobs.files import Files
from registry.errors import NotFound
from registry.model import Task, TensorSpec

TASK = Task(
    "t",
    (TensorSpec("file", "BYTES", (-1, 2)), TensorSpec("x", "FP32", (-1,))),
    (TensorSpec("label", "BYTES", (-1,)),),
    "accuracy",
)
ARRAYS = {
    "file": np.array([["é", ""], ["b", "long"]]),
    "x": np.array([0.5, 2], np.float32),
    "label": np.array([b"yes", b"n"]),
}


@pytest.fixture
def blobs(tmp_path: Path) -> Files:
    return Files(tmp_path / "blobs")


def test_rows_and_models_come_back(blobs: Files) -> None:
    evaluation = check(ARRAYS, TASK)
    sources = keep_sources(blobs, TASK, evaluation, evaluation.inputs, {"a": b"onnx", "b": b"other"})
    back = kept_evaluation(blobs, TASK, sources)
    assert back.output == "label"
    assert back.expected.tolist() == [b"yes", b"n"]
    assert back.inputs["file"].tolist() == [["é".encode(), b""], [b"b", b"long"]]
    np.testing.assert_array_equal(back.inputs["x"], ARRAYS["x"])
    assert kept_calibration(blobs, TASK, sources)["file"].tolist() == back.inputs["file"].tolist()
    assert [blobs.get(sources.model(name) or "") for name in ("a", "b")] == [b"onnx", b"other"]
    assert keep_sources(blobs, TASK, evaluation, evaluation.inputs, {"a": b"onnx", "b": b"other"}) == sources


def test_one_long_text_takes_no_room_for_the_others(blobs: Files) -> None:
    texts = np.array([b"x" * 100_000, *[b"short"] * 500, b"with a zero\0", b""], dtype=object)
    rows = {"file": np.stack([texts, texts], axis=1), "x": np.zeros(len(texts), np.float32), "label": texts}
    evaluation = check(rows, TASK)
    sources = keep_sources(blobs, TASK, evaluation, evaluation.inputs, {})
    assert len(blobs.get(sources.evaluation)) < 400_000
    back = kept_evaluation(blobs, TASK, sources)
    assert back.inputs["file"].tolist() == rows["file"].tolist()
    assert back.expected.tolist() == texts.tolist()
    assert kept_calibration(blobs, TASK, sources)["file"].tolist() == rows["file"].tolist()


def test_without_calibration_there_is_none(blobs: Files) -> None:
    sources = keep_sources(blobs, TASK, check(ARRAYS, TASK), {}, {})
    assert sources.calibration is None
    assert kept_calibration(blobs, TASK, sources) == {}


def test_an_artifact_is_copied_whole(blobs: Files, tmp_path: Path) -> None:
    workshop = Files(tmp_path / "workshop")
    digest = write_artifact(workshop, b"graph", [TensorBlob("w", workshop.put(b"weights"), 7)])
    workshop.put(b"of another")
    keep_artifact(digest, workshop, blobs)
    assert read_manifest(blobs, digest) == read_manifest(workshop, digest)
    assert len(list(blobs.digests())) == 3
    with pytest.raises(NotFound):
        keep_artifact(workshop.put(b"{}").replace("0", "1"), workshop, blobs)
