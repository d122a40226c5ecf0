"""A student answers like its teacher, right or wrong, in exactly its teacher's form."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_diabetes, load_digits
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from optimizer.errors import GenerationFailed
from optimizer.generate.distill import distill
from optimizer.generate.generated import Parent
from optimizer.generate.running import answers
from optimizer.generate.table import GENERATORS
from registry.model import Recipe, Task, TensorSpec

IMAGES: NDArray[np.float32] = load_digits().data.astype(np.float32)
DIGITS = load_digits().target
SCORES = TensorSpec("probabilities", "FP32", (-1, 10))


def export(estimator: Any, columns: int, **options: Any) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = convert_sklearn(
            estimator,
            initial_types=[("x", FloatTensorType([None, columns]))],
            target_opset={"": 18, "ai.onnx.ml": 3},
            options={id(estimator): options} if options else None,
        )
    return bytes(model.SerializeToString())


def teacher(labels: NDArray[Any], datatype: str) -> Parent:
    forest = RandomForestClassifier(60, max_depth=8, random_state=0).fit(IMAGES[:1000], labels[:1000])
    task = Task(
        "digits", (TensorSpec("x", "FP32", (-1, 64)),), (TensorSpec("label", datatype, (-1,)), SCORES), "accuracy"
    )
    return Parent("forest", export(forest, 64, zipmap=False), task, {"x": IMAGES[1000:1400]})


@pytest.fixture(scope="module")
def digits() -> Parent:
    return teacher(DIGITS, "INT64")


def test_it_agrees_with_its_teacher_and_keeps_its_form(digits: Parent) -> None:
    generated = distill.generate(digits, {"units": "64"})
    model, parent = onnx.load_from_string(generated.model), onnx.load_from_string(digits.model)
    onnx.checker.check_model(model, full_check=True)
    assert list(model.graph.input) == list(parent.graph.input)
    assert list(model.graph.output) == list(parent.graph.output)
    assert not [node for node in model.graph.node if node.domain]
    x = {"x": IMAGES[1400:]}
    student, full = (answers("test", m, x) for m in (generated.model, digits.model))
    assert np.mean(student["label"] == full["label"]) > 0.85
    assert np.mean(student["label"] == DIGITS[1400:]) > 0.8
    np.testing.assert_allclose(student["probabilities"].sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(student["probabilities"].argmax(axis=1), student["label"])
    assert student["probabilities"].dtype == full["probabilities"].dtype


def test_the_recipe_says_how_and_the_same_bytes_follow(digits: Parent) -> None:
    once = distill.generate(digits, {"units": "8"})
    assert once.recipe == Recipe("distill", "forest", (("rows", "4000"), ("units", "8")))
    assert distill.generate(digits, dict(once.recipe.parameters)).model == once.model


def test_a_teacher_with_time_for_few_rows_is_asked_about_all_classes(
    digits: Parent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optimizer.generate.distill.LABELLING", 1)
    in_order = IMAGES[1000:1400][np.argsort(DIGITS[1000:1400], kind="stable")]
    generated = distill.generate(replace(digits, rows={"x": in_order}), {"units": "64"})
    assert dict(generated.recipe.parameters)["rows"] == "40"
    student = answers("test", generated.model, {"x": IMAGES[1400:]})["label"]
    assert set(student) == set(range(10))


def test_labels_that_are_text_keep_their_names() -> None:
    names = np.array(["nought", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
    parent = teacher(names[DIGITS], "BYTES")
    generated = distill.generate(parent, {"units": "32"})
    given = answers("test", generated.model, {"x": IMAGES[1400:]})["label"]
    assert np.mean(given == [name.encode() for name in names[DIGITS[1400:]]]) > 0.8


def test_a_regressor_is_matched_in_its_values() -> None:
    x, y = load_diabetes(return_X_y=True)
    x = x.astype(np.float32)
    model = export(RandomForestRegressor(30, min_samples_leaf=5, random_state=0).fit(x[:300], y[:300]), 10)
    task = Task("d", (TensorSpec("x", "FP32", (-1, 10)),), (TensorSpec("variable", "FP32", (-1, 1)),), "rmse_skill")
    generated = distill.generate(Parent("forest", model, task, {"x": x[:300]}), {"units": "16"})
    student, full = (answers("test", m, {"x": x[300:]})["variable"].ravel() for m in (generated.model, model))
    assert np.corrcoef(student, full)[0, 1] > 0.9
    assert abs(student.mean() - full.mean()) < 0.1 * full.std() + 5


def several_inputs() -> Parent:
    """A hand-made teacher: the sign of a weighted sum of an image of bytes and two numbers, as one label alone."""
    source = np.random.default_rng(0)
    weights = source.normal(size=(18, 2)).astype(np.float32)
    weights -= weights.mean(axis=0)  # so that either label is as likely
    nodes = [
        helper.make_node("Cast", ["image"], ["i"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["i"], ["flat"], axis=1),
        helper.make_node("Concat", ["flat", "more"], ["all"], axis=1),
        helper.make_node("MatMul", ["all", "w"], ["two"]),
        helper.make_node("ArgMax", ["two"], ["top"], axis=1, keepdims=1),
        helper.make_node("Gather", ["names", "top"], ["label"]),
    ]
    graph = helper.make_graph(
        nodes,
        "teacher",
        [
            helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 4, 4, 1]),
            helper.make_tensor_value_info("more", TensorProto.FLOAT, ["n", 2]),
        ],
        [helper.make_tensor_value_info("label", TensorProto.INT64, ["n", 1])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.array([7, -3], np.int64), "names")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    task = Task(
        "t",
        (TensorSpec("image", "UINT8", (-1, 4, 4, 1)), TensorSpec("more", "FP32", (-1, 2))),
        (TensorSpec("label", "INT64", (-1, 1)),),
        "accuracy",
    )
    rows = {
        "image": source.integers(0, 5, (200, 4, 4, 1)).astype(np.uint8),
        "more": source.normal(size=(200, 2)).astype(np.float32),
    }
    return Parent("teacher", model, task, rows)


def test_several_inputs_and_a_teacher_that_gives_labels_only() -> None:
    parent = several_inputs()
    generated = distill.generate(parent, {"units": "8"})
    student, full = (answers("test", m, parent.rows)["label"] for m in (generated.model, parent.model))
    assert student.shape == full.shape == (200, 1)
    assert set(np.unique(student)) == {7, -3}
    assert np.mean(student == full) > 0.9


def test_proposals_are_smaller_than_the_teacher(digits: Parent) -> None:
    # Sixty trees of eight levels are worth 60 × 50 × 8 or so multiply-adds, and 256 units 18,944.
    assert [name for name, _ in distill.propose(digits)] == ["distill-256", "distill-64", "distill-16"]
    with pytest.raises(GenerationFailed, match="no larger than a student: 36 multiply-adds"):
        distill.propose(several_inputs())
    assert distill.refine is not None
    assert {"distill-192", "distill-8"} <= {name for name, _ in distill.refine(digits)}


def test_less_time_is_expected_of_a_narrower_student(digits: Parent) -> None:
    wide, narrow = (distill.expect(digits, {"units": units}).latency for units in ("256", "16"))
    assert 0.5 < wide < 1
    assert narrow == pytest.approx(wide / 16, rel=0.2)


def test_what_cannot_be_taught_says_why(digits: Parent) -> None:
    def parent(*inputs: TensorSpec, rows: int = 400) -> Parent:
        task = Task("t", inputs or digits.task.inputs, digits.task.outputs, "accuracy")
        return Parent("x", digits.model, task, {"x": IMAGES[:rows]} if rows else {})

    for refused, why in (
        (parent(TensorSpec("x", "BYTES", (-1, 1))), "is text"),
        (parent(TensorSpec("x", "FP32", (-1, -1))), "no fixed shape"),
        (parent(TensorSpec("x", "FP32", (-1, 200, 200, 3))), "120000 numbers"),
        (parent(rows=39), "39 calibration rows"),
        (parent(rows=0), "0 calibration rows"),
    ):
        for function in (distill.propose, lambda p: distill.generate(p, {})):
            with pytest.raises(GenerationFailed, match=why):
                function(refused)
    for parameters in ({"units": "0"}, {"units": "many"}, {"depth": "2"}):
        with pytest.raises(GenerationFailed, match="from 1 to 9999"):
            distill.generate(digits, parameters)
    with pytest.raises(GenerationFailed, match="not ONNX"):
        distill.propose(Parent("x", b"nonsense", digits.task, digits.rows))


def test_the_table_names_it() -> None:
    assert GENERATORS["distill"] is distill
