"""A variant is what was measured of a model, and a model of another signature is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from optimizer.artifact import Optimise
from optimizer.evaluation import Evaluation
from optimizer.make import make, size_of
from optimizer.registration import Model
from registry.blobs.files import Files
from registry.errors import InvalidValue
from registry.model import Recipe, Task, TensorSpec, TierKind
from registry.prices import local_tiers

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
    assert variant.size_bytes == size_of(blobs, variant.artifact) == pytest.approx(len(good.onnx or b""), rel=0.01)
    assert made.candidate.max_batch == 8
    assert made.candidate.prepack is None
    assert set(made.memory_mb) == {True, False}
    assert make(task, good, blobs, EVALUATION).candidate == made.candidate


def test_the_labels_that_it_gave_are_kept(tmp_path: Path) -> None:
    graph = "g (float[n, 3] x) => (int64[n] y) { y = ArgMax<axis=1, keepdims=0>(x) }"
    text = f'<ir_version: 8, opset_import: ["" : 18]> {graph}'
    rows = np.eye(3, dtype=np.float32)[[0, 2] * 5]
    task = Task("top", (TensorSpec("x", "FP32", (-1, 3)),), (TensorSpec("y", "INT64", (-1,)),), "accuracy")
    model = Model("top", onnx.parser.parse_model(text).SerializeToString(), Recipe("train"))
    made = make(task, model, Files(tmp_path), Evaluation({"x": rows}, "y", np.array([1, 2] * 5)))
    assert made.given == {0, 2}


def test_numbers_are_no_labels(task: Task, good: Model, tmp_path: Path) -> None:
    assert make(task, good, Files(tmp_path), EVALUATION).given == frozenset()


def test_without_tensors_there_is_nothing_to_pre_pack(
    task: Task, network: Callable[[int], bytes], tmp_path: Path
) -> None:
    made = make(task, Model("tiny", network(4), Recipe("train")), Files(tmp_path), EVALUATION)
    assert made.candidate.prepack is False


def test_a_graph_of_few_rows_is_judged_few_at_a_time(task: Task, good: Model, tmp_path: Path) -> None:
    whole = make(task, good, Files(tmp_path), EVALUATION)
    single = make(task, replace(good, max_batch=1), Files(tmp_path), EVALUATION)
    assert single.candidate.max_batch == 1
    assert single.candidate.variant.accuracy.value == pytest.approx(whole.candidate.variant.accuracy.value)


def test_a_variant_may_be_for_some_tiers_only(task: Task, good: Model, tmp_path: Path) -> None:
    made = make(task, good, Files(tmp_path), EVALUATION, kinds=frozenset({TierKind.PROCESS}))
    assert [tier.kind for tier in local_tiers() if made.suits(tier)] == [TierKind.PROCESS] * 4
    assert all(make(task, good, Files(tmp_path), EVALUATION).suits(tier) for tier in local_tiers())


def test_what_is_optimised_at_load_answers_alike(task: Task, good: Model, tmp_path: Path) -> None:
    now, later = (
        make(task, good, Files(tmp_path), EVALUATION, optimise=when) for when in (Optimise.NOW, Optimise.AT_LOAD)
    )
    assert now.candidate.variant.artifact != later.candidate.variant.artifact
    assert now.candidate.variant.accuracy.value == pytest.approx(later.candidate.variant.accuracy.value)


def test_another_signature_is_refused(good: Model, tmp_path: Path) -> None:
    other = Task("sum", (TensorSpec("x", "FP32", (-1, 8)),), (TensorSpec("y", "FP32", (-1, 2)),), "rmse_skill")
    with pytest.raises(InvalidValue, match=r"model output y: is float32 \[3, 1\] for 3 rows"):
        make(other, good, Files(tmp_path), EVALUATION)
