"""ZipMap: the scores that it would turn into dictionaries become the output, under its name."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, load_from_string
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from optimizer.vet.caps import CAPS
from optimizer.vet.examine import examine
from optimizer.vet.zipmaps import make_dense, zipped_classes

X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
Y = X.argmax(axis=1)
NAMES = np.array(["ant", "bee", "cat"])


def run(model: bytes) -> dict[str, Any]:
    """Its outputs by name for all rows."""
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"X": X}), strict=True))


@pytest.mark.parametrize("kind", [LogisticRegression, DecisionTreeClassifier, RandomForestClassifier])
@pytest.mark.parametrize("labels", [Y, NAMES[Y]])
def test_the_usual_export_of_a_classifier_gives_its_probabilities(kind: Any, labels: Any) -> None:
    estimator = kind().fit(X, labels)
    exported = to_onnx(estimator, X[:1]).SerializeToString()
    before = run(exported)

    accepted = examine(exported, CAPS, {})

    assert examine(accepted, CAPS, {}) is accepted
    after = run(accepted)
    assert list(after) == list(before) == ["output_label", "output_probability"]
    np.testing.assert_array_equal(after["output_label"], before["output_label"])
    scores = after["output_probability"]
    assert (scores.shape, scores.dtype) == ((60, 3), np.float32)
    np.testing.assert_array_equal(
        scores, [[row[c] for c in estimator.classes_] for row in before["output_probability"]]
    )
    assert zipped_classes(load_from_string(exported)) == (tuple(NAMES) if labels is not Y else ())
    assert zipped_classes(load_from_string(accepted)) == ()


def zipped(*more: Any, outputs: tuple[str, ...] = ("y",), kind: str = "ZipMap") -> Any:
    """A model that gives its input as dictionaries, without an operator set of ai.onnx."""
    entries = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    values = [helper.make_value_info(name, helper.make_sequence_type_proto(entries)) for name in outputs]
    node = helper.make_node(kind, ["x"], ["y"], domain="ai.onnx.ml", classlabels_strings=["a", "b"])
    graph = helper.make_graph(
        [node, *more], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])], values
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("ai.onnx.ml", 3)], ir_version=9)


def test_a_model_of_nothing_else_gets_the_operators_that_it_needs() -> None:
    model = zipped()

    accepted = load_from_string(examine(model.SerializeToString(), CAPS, {}))

    assert {opset.domain for opset in accepted.opset_import} == {"", "ai.onnx.ml"}
    (output,) = accepted.graph.output
    assert output.type.tensor_type.shape.dim[1].dim_value == 2


@pytest.mark.parametrize(
    "model",
    [
        zipped(helper.make_node("Identity", ["y"], ["z"]), outputs=("y", "z")),
        zipped(outputs=("z",)),
        zipped(kind="DictVectorizer"),
    ],
)
def test_what_is_used_otherwise_stays(model: Any) -> None:
    before = model.SerializeToString()

    assert not make_dense(model)

    assert model.SerializeToString() == before
