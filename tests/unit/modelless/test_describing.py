"""A model, rows and answers become a registration; what does not fit is said before anything is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from skl2onnx import to_onnx
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modelless import describe
from optimizer.errors import InvalidEvaluation, ModelRefused, NotConvertible
from optimizer.generate.table import GENERATORS
from registry.errors import InvalidValue
from registry.model import Recipe, Slo, TensorSpec
from registry.prices import local_tiers

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(80, 3))
Y = np.where(X[:, 0] > 0, "up", "down")
ADD = '<ir_version: 8, opset_import: ["" : 18]> g (float[ROWS, 3] x) => (float[ROWS, 3] logits) { logits = Relu(x) }'


def model(rows: str = "n") -> bytes:
    return bytes(onnx.parser.parse_model(ADD.replace("ROWS", rows)).SerializeToString())


def test_an_estimator_is_described() -> None:
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    made = describe(
        "trend", estimator, X, Y, calibration=X[:10] + 1, tiers=["inline"], slo={"latency_ms": 5}, description="Up?"
    )

    assert made.task.inputs == (TensorSpec("X", "FP32", (-1, 3)),)
    assert made.task.outputs == (TensorSpec("label", "BYTES", (-1,)), TensorSpec("probabilities", "FP32", (-1, 2)))
    assert (made.task.metric, made.task.judged, made.task.classes) == ("accuracy", "label", ("down", "up"))
    assert made.task.default_slo == Slo(latency_ms=5.0)
    assert made.task.description == "Up?"
    assert (made.evaluation.rows, made.evaluation.output) == (80, "label")
    np.testing.assert_array_equal(made.calibration["X"], (X[:10] + 1).astype(np.float32))
    assert made.tiers == local_tiers()[:1]
    assert made.generate == tuple(GENERATORS)
    (only,) = made.models
    assert only.name == "logistic-regression"
    assert only.recipe.generator == "convert"


def test_a_file_holds_rows_and_answers_by_name(tmp_path: Path) -> None:
    path = tmp_path / "Trend v2.onnx"
    path.write_bytes(model())
    arrays = {"x": X, "answers": X.argmax(axis=1)}
    made = describe("trend", path, arrays, None, generate=False, calibration={"x": X[:4], "answers": X[:4, 0]})

    assert made.task.judged == "label"
    assert [spec.name for spec in made.task.outputs] == ["logits", "label"]
    assert made.models[0].name == "trend-v2"
    assert made.models[0].recipe == Recipe("import")
    assert made.generate == ()
    assert set(made.calibration) == {"x"}
    assert describe("trend", path, {"x": X, "logits": X}, None).task.judged == "logits"
    assert describe("trend", path, {"x": X, "a": X, "b": X, "logits": X}, None, output="logits").task.judged == "logits"


@pytest.mark.parametrize("rows", ["1", "5"])
def test_a_fixed_number_of_rows_is_freed(rows: str) -> None:
    made = describe("trend", model(rows), X, X.argmax(axis=1), name="fixed")
    assert made.task.inputs[0].shape == (-1, 3)
    assert made.models[0].name == "fixed"


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"task": "Trend!"}, InvalidValue, "task: 'Trend!' is not a name"),
        ({"name": "Big Model"}, InvalidValue, "name: 'Big Model' is not a name"),
        ({"task": 5}, InvalidValue, "task: 5 is no string but of int; give a name as a string"),
        ({"name": b"net"}, InvalidValue, "name: b'net' is no string"),
        ({"y": None}, InvalidEvaluation, "y: is None; give the right answer for each row"),
        ({"X": None}, InvalidValue, "x: is None, and no rows"),
        ({"tiers": ["inlined"]}, InvalidValue, "did you mean inline"),
        ({"slo": {"latency": 1}}, InvalidValue, "slo.latency: is not a hint"),
        ({"generate": ["int4"]}, InvalidValue, "did you mean int8"),
        ({"model": b"nonsense"}, ModelRefused, "not ONNX"),
        ({"model": object()}, NotConvertible, "object: is no model of"),
        ({"model": "model.pkl"}, NotConvertible, "none is ever read"),
        ({"X": X[:, :2]}, InvalidValue, r"X: x: has shape \[80, 2\]"),
        ({"y": Y[:5]}, InvalidEvaluation, "has 5 answers for 80 rows"),
        ({"calibration": {"z": X}}, InvalidValue, "calibration: x: is missing"),
        ({"X": {"xx": X, "y": Y}, "y": None}, InvalidValue, "X: x: is missing; the file has .*is it 'xx'"),
        ({"X": {"x": X}, "y": None}, InvalidValue, "holds no array beside the inputs"),
        ({"X": {"x": X, "a": X, "b": X}, "y": None}, InvalidValue, r"holds \['a', 'b'\] beside the inputs"),
    ],
)
def test_what_does_not_fit_is_named(changed: dict[str, Any], error: type[Exception], message: str) -> None:
    given = {"task": "trend", "model": model(), "X": X, "y": X.argmax(axis=1), **changed}
    with pytest.raises(error, match=message):
        describe(**given)


def test_a_converter_that_changes_answers_is_found_out() -> None:
    class Twisted(LinearRegression):  # type: ignore[misc]
        def predict(self, X: Any) -> Any:
            return -super().predict(X)

    Twisted.__module__ = "sklearn.linear_model._base"
    twisted = Twisted().fit(X, X[:, 0])
    twisted.__class__ = type("LinearRegression", (LinearRegression,), {"predict": Twisted.predict})
    with pytest.raises(NotConvertible):
        describe("trend", twisted, X, X[:, 0])


def test_a_classifier_as_skl2onnx_exports_it_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "trend.onnx"
    path.write_bytes(to_onnx(LogisticRegression().fit(X, Y), X[:1].astype(np.float32)).SerializeToString())
    rows = X[Y == "up"]
    made = describe("trend", path, {"X": rows, "y": Y[Y == "up"]}, None, generate=False)

    assert made.task.outputs == (
        TensorSpec("output_label", "BYTES", (-1,)),
        TensorSpec("output_probability", "FP32", (-1, 2)),
    )
    assert (made.task.judged, made.task.classes) == ("output_label", ("down", "up"))
