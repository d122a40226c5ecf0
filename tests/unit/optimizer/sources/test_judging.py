"""Which output is judged, and by which metric, follows from the right answers or is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from optimizer.errors import InvalidEvaluation
from optimizer.signature import Signature, infer
from optimizer.sources.batch_axis import Probe
from optimizer.sources.judging import judged

X = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def signature(text: str) -> Signature:
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {text}')
    return infer(model.SerializeToString(), {"x": X})


CLASSIFIER = (
    "g (float[n, 3] x) => (int64[n] label, float[n, 3] probabilities)"
    " { probabilities = Softmax(x)  label = ArgMax<axis = 1, keepdims = 0>(x) }"
)
SCORES = "g (float[n, 3] x) => (float[n, 3] logits) { logits = Identity(x) }"
VALUE = "g (float[n, 3] x) => (float[n, 1] value) <int64[1] axes = {1}> { value = ReduceSum(x, axes) }"
TWO = "g (float[n, 3] x) => (float[n, 3] low, float[n, 3] high) { low = Neg(x)  high = Identity(x) }"


@pytest.mark.parametrize("answers", [LABELS, LABELS.astype(np.uint8), LABELS > 0, LABELS.astype(float)])
def test_labels_are_for_the_label(answers: Any) -> None:
    found = judged(signature(CLASSIFIER), answers)
    assert (found.output, found.metric, found.classes) == ("label", "accuracy", ())
    assert found.expected.shape == (6,)


def test_a_table_of_numbers_is_for_the_probabilities() -> None:
    found = judged(signature(CLASSIFIER), np.full((6, 3), 0.4))
    assert (found.output, found.metric) == ("probabilities", "rmse_skill")


def test_numbers_take_the_shape_of_the_value() -> None:
    found = judged(signature(VALUE), X.sum(axis=1))
    assert (found.output, found.metric, found.expected.shape) == ("value", "rmse_skill", (6, 1))


def test_whole_numbers_beyond_two_are_no_labels_of_one_score() -> None:
    assert judged(signature(VALUE), np.arange(6)).metric == "rmse_skill"


def test_scores_get_the_label_of_the_highest() -> None:
    found = judged(signature(SCORES), LABELS)

    assert (found.output, found.metric) == ("label", "accuracy")
    assert [spec.name for spec in found.signature.outputs] == ["logits", "label"]
    outputs = Probe(found.signature.model).run(found.signature.rows, 6)
    np.testing.assert_array_equal(outputs["label"], X.argmax(axis=1))
    np.testing.assert_array_equal(outputs["logits"], X)


def test_strings_are_classes() -> None:
    text = "g (float[n, 3] x) => (string[n] label) { i = ArgMax<axis = 1, keepdims = 0>(x)  label = Gather(names, i) }"
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {text}')
    model.graph.initializer.append(onnx.helper.make_tensor("names", onnx.TensorProto.STRING, [3], ["b", "c", "a"]))
    strings = infer(model.SerializeToString(), {"x": X})
    found = judged(strings, np.array(list("abcabc")))
    assert (found.output, found.metric, found.classes) == ("label", "accuracy", ("a", "b", "c"))
    assert found.expected[0] == b"a"
    assert judged(strings, np.array(list("abcabc")), classes=("c", "b", "a")).classes == ("c", "b", "a")


def test_an_operator_may_say_which_output() -> None:
    assert judged(signature(TWO), X, output="high").output == "high"
    assert judged(signature(VALUE), LABELS > 0, metric="rmse_skill").metric == "rmse_skill"


@pytest.mark.parametrize(
    ("text", "answers", "said", "message"),
    [
        (TWO, X, {}, r"2 of the outputs \(low FP32 \[-1, 3\], high FP32 \[-1, 3\]\) are like that; say which output"),
        (TWO, X, {"output": "hihg"}, "output: the model gives no 'hihg'; did you mean high?"),
        (TWO, X, {"output": "high", "metric": "beauty"}, "metric: 'beauty' is unknown"),
        (TWO, X, {"output": "high", "metric": "accuracy"}, "counts those that 'high' hits to the last digit"),
        (VALUE, LABELS > 0, {}, "'value' is one score for each row; export a label, or say metric rmse_skill"),
        (SCORES, LABELS + 1, {}, "has labels from 1 to 3, and 'logits' scores the classes 0 to 2"),
        (CLASSIFIER, LABELS[:5], {}, "y: has 5 answers for 6 rows"),
        (CLASSIFIER, np.array(list("abcabc")), {}, r"has strings of shape \[6\], and 0 of the outputs"),
        (CLASSIFIER, np.array(list("abcabc")), {"output": "label"}, "has strings, and the output 'label' is INT64"),
        (VALUE, X, {"output": "value"}, r"has shape \[6, 3\], and the output 'value' \[-1, 1\]"),
    ],
)
def test_what_is_not_plain_is_asked_for(text: str, answers: Any, said: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidEvaluation) as caught:
        judged(signature(text), answers, **said)
    assert message.replace("\\", "") in str(caught.value)
