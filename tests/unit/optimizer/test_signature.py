"""A signature is inferred from graph and rows; a variant that answers otherwise than its task promises is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from optimizer.signature import check_outputs, infer
from registry.errors import InvalidValue
from registry.model import Task, TensorSpec

TASK = Task(
    "t",
    (TensorSpec("x", "FP32", (-1, 2)),),
    (TensorSpec("label", "INT64", (-1,)), TensorSpec("scores", "FP32", (-1, 3))),
    "accuracy",
)
LABEL = np.zeros(2, np.int64)
SCORES = np.zeros((2, 3), np.float32)


def test_the_signature_itself_passes() -> None:
    check_outputs(TASK, {"label": LABEL, "scores": SCORES}, 2)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"label": LABEL}, "gives the outputs ['label']; export it with ['label', 'scores']"),
        ({"label": LABEL, "scores": SCORES, "extra": LABEL}, "'extra'"),
        ({"label": LABEL.astype(np.int32), "scores": SCORES}, "model output label: is int32 [2] for 2 rows"),
        ({"label": LABEL[:1], "scores": SCORES}, "model output label: is int64 [1] for 2 rows"),
        ({"label": LABEL, "scores": SCORES[:, :2]}, "export it as FP32 [-1, 3]"),
        ({"label": LABEL.reshape(2, 1), "scores": SCORES}, "is int64 [2, 1]"),
    ],
)
def test_anything_else_is_refused(outputs: dict[str, NDArray[Any]], message: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        check_outputs(TASK, outputs, 2)
    assert message in str(caught.value)


ROWS = np.arange(12, dtype=np.float32).reshape(6, 2)


def parsed(text: str) -> bytes:
    return bytes(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {text}').SerializeToString())


ADD = "g (float[n, 2] x, float[n, 2] z) => (float[n, 2] y) { y = Add(x, z) }"


def test_a_signature_is_read_off_the_graph_and_the_rows() -> None:
    model = parsed("g (float[n, 2] x, int64[n] k) => (int64[n] label, float[n, m] scores) "
                   "{ label = Identity(k)  scores = Softmax(x) }")  # fmt: skip
    rows = {"x": ROWS.astype(np.float64), "k": np.arange(6, dtype=np.uint8)}
    signature = infer(model, rows)

    assert signature.inputs == (TensorSpec("x", "FP32", (-1, 2)), TensorSpec("k", "INT64", (-1,)))
    assert signature.outputs == (TensorSpec("label", "INT64", (-1,)), TensorSpec("scores", "FP32", (-1, 2)))
    assert {name: array.dtype for name, array in signature.rows.items()} == {"x": np.float32, "k": np.int64}


def test_an_axis_that_may_be_of_any_length_stays_free() -> None:
    model = parsed("g (float[n, length] x) => (float[n, length] y) { y = Relu(x) }")
    signature = infer(model, {"x": ROWS})
    assert signature.inputs[0].shape == signature.outputs[0].shape == (-1, -1)


def test_strings_are_bytes_in_and_out() -> None:
    model = parsed("g (string[n, 1] word) => (string[n, 1] same) { same = Identity(word) }")
    signature = infer(model, {"word": np.array(["a", "é"])})
    assert signature.inputs == (TensorSpec("word", "BYTES", (-1, 1)),)
    assert signature.outputs == (TensorSpec("same", "BYTES", (-1, 1)),)
    assert signature.rows["word"].tolist() == [[b"a"], ["é".encode()]]


def test_rows_with_gaps_say_that_gaps_are_meant() -> None:
    rows = {"x": np.where(ROWS == 3, np.nan, ROWS), "z": ROWS}
    signature = infer(parsed(ADD), rows)
    assert [spec.finite for spec in signature.inputs] == [False, True]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            {"x": ROWS, "Z": ROWS},
            r"X: z: is missing, and the model takes FP32 \[-1, 2\] under this name; name the array",
        ),
        ({"x": ROWS, "z": ROWS[:3]}, "X: has arrays of different lengths or none: x 6, z 3; give each the same rows"),
        ({"x": ROWS[:0], "z": ROWS[:0]}, "x 0, z 0"),
        ({"x": ROWS, "z": ROWS[:, :1]}, r"X: z: has shape \[6, 1\], and the model takes \[-1, 2\]"),
        ({"x": ROWS, "z": np.array([["a", "b"]] * 6)}, "X: z: holds strings, and the model takes FP32"),
        ({"x": ROWS, "z": ROWS.astype(np.float64) * 1e300}, "X: z: holds float64 beyond the range of FP32"),
    ],
)
def test_rows_that_do_not_fit_are_named(rows: dict[str, NDArray[Any]], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        infer(parsed(ADD), rows)


def test_whole_numbers_are_not_rounded_to() -> None:
    model = parsed("g (int32[n] k) => (int32[n] y) { y = Identity(k) }")
    assert infer(model, {"k": np.arange(3)}).rows["k"].dtype == np.int32
    with pytest.raises(InvalidValue, match="k: holds float64, and the model takes INT32"):
        infer(model, {"k": np.arange(3) + 0.5})
    with pytest.raises(InvalidValue, match="k: holds int64 beyond the range of INT32"):
        infer(model, {"k": np.arange(3) + (1 << 40)})


def test_a_model_that_does_not_answer_row_by_row_is_refused() -> None:
    total = "g (float[n, 2] x) => (float[1, 2] y) <int64[1] axes = {0}> { y = ReduceSum(x, axes) }"
    with pytest.raises(
        InvalidValue, match=r"model output y: has shape \[1, 2\] for 2 rows; export a model that answers"
    ):
        infer(parsed(total), {"x": ROWS})


def test_a_model_that_onnxruntime_refuses_is_refused() -> None:
    with pytest.raises(InvalidValue, match="model: these bytes are not ONNX"):
        infer(b"nonsense", {"x": ROWS})
