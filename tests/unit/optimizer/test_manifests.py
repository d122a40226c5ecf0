"""A manifest's files, in memory."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from optimizer.artifact import MAX_MODEL_BYTES
from optimizer.errors import InvalidEvaluation
from optimizer.generate.table import GENERATORS
from optimizer.manifests import registration_of
from optimizer.registration import Model
from registry.errors import InvalidManifest
from registry.manifest import TaskManifest, load
from registry.model import Recipe

TEXT = """\
task:
  name: sum
  metric: rmse_skill
  inputs: [{name: x, datatype: FP32, shape: [-1, 2]}]
  outputs: [{name: y, datatype: FP32, shape: [-1]}]
evaluation: eval.npz
variants:
  - {name: a, model: a.onnx, recipe: {generator: train}, max_batch: 8, threads: 2, prepack: true}
  - {name: b, recipe: {generator: int8, parent: a}}
"""
X, Y = np.zeros((3, 2), np.float32), np.arange(3, dtype=np.float32)


def manifest(folder: Path, text: str) -> TaskManifest:
    np.savez(folder / "eval.npz", x=X, y=Y)
    (folder / "a.onnx").write_bytes(b"a")
    (folder / "task.yaml").write_text(text)
    return load(folder / "task.yaml", generators=GENERATORS)


def test_files_are_read(tmp_path: Path) -> None:
    registration = registration_of(manifest(tmp_path, TEXT))
    assert registration.models == (
        Model("a", b"a", Recipe("train"), 8, 2, True),
        Model("b", None, Recipe("int8", "a")),
    )
    assert (registration.evaluation.output, registration.evaluation.rows) == ("y", 3)
    assert registration.generate == ()
    assert registration.calibration == {}


def test_every_generator_is_meant_by_true(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=X[:2])
    registration = registration_of(manifest(tmp_path, TEXT + "generate: true\ncalibration: rows.npz\n"))
    assert registration.generate == tuple(GENERATORS)
    np.testing.assert_array_equal(registration.calibration["x"], X[:2])
    assert registration_of(manifest(tmp_path, TEXT + "generate: [int8]\n")).generate == ("int8",)


def test_what_is_gone_or_does_not_fit_is_named(tmp_path: Path) -> None:
    read = manifest(tmp_path, TEXT)
    (tmp_path / "a.onnx").unlink()
    with pytest.raises(InvalidManifest, match=r"a\.onnx: cannot be read \(No such file"):
        registration_of(read)
    np.savez(tmp_path / "eval.npz", x=X)
    with pytest.raises(InvalidEvaluation, match="holds 0 of the outputs"):
        registration_of(read)


def test_a_model_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    given = manifest(tmp_path, TEXT)
    os.truncate(tmp_path / "a.onnx", MAX_MODEL_BYTES + 1)  # a hole, which takes no disk
    with pytest.raises(InvalidManifest, match=r"a\.onnx: is too large; give at most"):
        registration_of(given)
