"""The benchmark of load times compares the same model in every way, and notices answers that differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.compile import Subject, max_diff, ways_of
from registry.blobs.files import Files
from registry.model import Task, TensorSpec

TASK = Task("t", (TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1, 3)),), "rmse_skill")


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    """A dense layer in a file, and rows for it."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(4, 3), "w")],
    )
    path = tmp_path / "dense.onnx"
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return Subject("t", path, TASK, {"x": np.ones((5, 4), np.float32)})


def test_every_way_answers_the_same(subject: Subject, tmp_path: Path) -> None:
    answers = {}
    for name, way in ways_of(subject, Files(tmp_path / "blobs")).items():
        session = way.load()
        answers[name] = way.answer(session)
        way.close(session)

    assert list(answers) == ["onnxruntime", "original", "compiled"]
    np.testing.assert_allclose(answers["compiled"]["y"], [[18, 22, 26]] * 5)
    assert max_diff(answers) <= 1e-5


def test_differences_are_relative_to_large_answers_alone() -> None:
    def of(value: float, other: float) -> float:
        right, got = ({"y": np.array([v], np.float64)} for v in (value, other))
        return max_diff({"onnxruntime": right, "compiled": got})

    assert of(300, 303) == pytest.approx(0.01)
    assert of(0.1, 0.2) == pytest.approx(0.1)


def test_an_answer_that_is_no_number_is_no_small_difference() -> None:
    answers = [{"y": np.array([1.0, 2.0])}, {"y": np.array([1.0, np.nan])}]
    with pytest.raises(AssertionError, match="compiled: y is not finite"):
        max_diff(dict(zip(("onnxruntime", "compiled"), answers, strict=True)))


def test_other_labels_are_no_small_difference() -> None:
    labels = [{"label": np.array([1, 2])}, {"label": np.array([1, 3])}]
    with pytest.raises(AssertionError, match="compiled: label"):
        max_diff(dict(zip(("onnxruntime", "compiled"), labels, strict=True)))
