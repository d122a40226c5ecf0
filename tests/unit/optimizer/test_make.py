"""A registration's good models are made, and of the bad ones there is a reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from optimizer.evaluation import Evaluation
from optimizer.make import make, make_all, size_of
from optimizer.progress import Steps
from optimizer.registration import Model, Registration
from registry.blobs.files import Files
from registry.model import Recipe, Task, TensorSpec

EVALUATION = Evaluation(
    {"x": np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)},
    "y",
    np.random.default_rng(1).normal(size=(50, 1)).astype(np.float32),
)


@pytest.fixture
def good(model: bytes) -> Model:
    return Model("good", model, Recipe("train"), max_batch=8)


def test_a_variant_is_measured_and_not_believed(task: Task, good: Model, tmp_path: Path) -> None:
    blobs = Files(tmp_path / "blobs")
    made = make(task, good, blobs, EVALUATION)
    variant = made.candidate.variant
    assert variant.id == "sum/good"
    assert (variant.accuracy.rows, variant.accuracy.method) == (50, "bootstrap")
    assert variant.size_bytes == size_of(blobs, variant.artifact) == pytest.approx(len(good.onnx), rel=0.01)
    assert made.candidate.max_batch == 8
    assert made.candidate.prepack is None
    assert set(made.memory_mb) == {True, False}
    assert make(task, good, blobs, EVALUATION).candidate == made.candidate


def test_without_tensors_there_is_nothing_to_pre_pack(
    task: Task, network: Callable[[int], bytes], tmp_path: Path
) -> None:
    made = make(task, Model("tiny", network(4), Recipe("train")), Files(tmp_path), EVALUATION)
    assert made.candidate.prepack is False


async def test_what_cannot_be_made_is_left_out_with_its_reason(task: Task, good: Model, tmp_path: Path) -> None:
    nonsense = Model("nonsense", b"nonsense", Recipe("train"))
    steps = Steps()
    made, failures = await make_all(Registration(task, EVALUATION, {}, (nonsense, good), ()), Files(tmp_path), steps)
    assert [m.candidate.variant.name for m in made] == ["good"]
    assert [f.variant for f in failures] == ["nonsense"]
    assert "not ONNX" in failures[0].reason
    assert steps.done == 2


async def test_another_signature_is_refused(good: Model, tmp_path: Path) -> None:
    other = Task("sum", (TensorSpec("x", "FP32", (-1, 8)),), (TensorSpec("y", "FP32", (-1, 2)),), "rmse_skill")
    made, failures = await make_all(Registration(other, EVALUATION, {}, (good,), ()), Files(tmp_path), Steps())
    assert made == []
    assert "model output y: is float32 [3, 1] for 3 rows" in failures[0].reason
