"""Held-out rows are checked against the task before anything is run on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from optimizer.errors import InvalidEvaluation
from optimizer.evaluation import check, load_evaluation
from registry.model import Task, TensorSpec

TASK = Task(
    "t",
    (TensorSpec("x", "FP32", (-1, 2)),),
    (TensorSpec("label", "INT64", (-1,)), TensorSpec("score", "FP32", (-1,))),
    "accuracy",
)
X = np.arange(10, dtype=np.float32).reshape(5, 2)
LABEL = np.arange(5)


def test_a_file_is_read_by_the_tasks_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "eval.npz", x=X, label=LABEL)
    evaluation = load_evaluation(tmp_path / "eval.npz", TASK)
    assert (evaluation.rows, evaluation.output) == (5, "label")
    np.testing.assert_array_equal(evaluation.inputs["x"], X)


def test_batches_start_over_when_the_rows_run_out() -> None:
    evaluation = check({"x": X, "label": LABEL}, TASK)
    np.testing.assert_array_equal(evaluation.batch(7, start=3)["x"], X[[3, 4, 0, 1, 2, 3, 4]])


def test_strings_become_bytes() -> None:
    task = Task("t", (TensorSpec("s", "BYTES", (-1,)),), (TensorSpec("label", "BYTES", (-1,)),), "accuracy")
    evaluation = check({"s": np.array(["é", "b"]), "label": np.array([b"x", b"y"])}, task)
    assert evaluation.inputs["s"].tolist() == ["é".encode(), b"b"]
    assert evaluation.expected.tolist() == [b"x", b"y"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"label": LABEL}, "x: is missing"),
        ({"x": X}, "holds 0 of the outputs"),
        ({"x": X, "label": LABEL, "score": LABEL}, "holds 2 of the outputs"),
        ({"x": X, "label": LABEL[:4]}, "arrays of [4, 5] rows"),
        ({"x": X[:0], "label": LABEL[:0]}, "arrays of [0] rows"),
        ({"x": X.astype(np.float64), "label": LABEL}, "its dtype is float64"),
        ({"x": np.full_like(X, np.nan), "label": LABEL}, "NaN"),
    ],
)
def test_what_does_not_fit_is_named(arrays: dict[str, NDArray[Any]], message: str) -> None:
    with pytest.raises(InvalidEvaluation) as caught:
        check(arrays, TASK)
    assert message in str(caught.value)


def test_pickles_are_never_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "eval.npz", x=np.array([object()]), label=LABEL)
    with pytest.raises(InvalidEvaluation, match="cannot be read"):
        load_evaluation(tmp_path / "eval.npz", TASK)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "eval.npz").write_bytes(b"PK not a zip")
    with pytest.raises(InvalidEvaluation, match="cannot be read"):
        load_evaluation(tmp_path / "eval.npz", TASK)
    with pytest.raises(InvalidEvaluation, match="cannot be read"):
        load_evaluation(tmp_path / "missing.npz", TASK)
