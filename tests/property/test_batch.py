"""Whatever the rows, and however many, a graph made for a batch size answers as the graph it was made from."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnxruntime as ort
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, helper, numpy_helper

from optimizer.generate.batch import batch
from optimizer.generate.generated import Parent
from registry.model import Task, TensorSpec

SIZES = (1, 3, 8)

TASK = Task(
    "t",
    (TensorSpec("x", "FP32", (-1, 4)), TensorSpec("k", "INT64", (-1,))),
    (TensorSpec("y", "FP32", (-1, 3)), TensorSpec("label", "INT64", (-1,))),
    "accuracy",
)


def model() -> bytes:
    """A dense layer of `x` and an embedding of `k`, through shapes that are computed."""
    source = np.random.default_rng(0)
    weights = {"w": (4, 3), "e": (8, 3)}
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Gather", ["e", "k"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Shape", ["x"], ["n"], end=1),
        helper.make_node("Concat", ["n", "three"], ["s"], axis=0),
        helper.make_node("Reshape", ["c", "s"], ["d"]),
        helper.make_node("Softmax", ["d"], ["y"]),
        helper.make_node("ArgMax", ["d"], ["label"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", TensorProto.FLOAT, ["n", 4]), value("k", TensorProto.INT64, ["n"])],
        [value("y", TensorProto.FLOAT, ["n", 3]), value("label", TensorProto.INT64, ["n"])],
        [
            *(numpy_helper.from_array(source.normal(size=s).astype(np.float32), name) for name, s in weights.items()),
            numpy_helper.from_array(np.array([3]), "three"),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(made.SerializeToString())


@cache
def session(size: int | None) -> Any:
    """The model itself, or made for a batch size."""
    source = model()
    bytes_ = source if size is None else batch.generate(Parent("m", source, TASK), {"rows": str(size)}).model
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(bytes_, options, providers=["CPUExecutionProvider"])


@given(data=st.data(), size=st.sampled_from(SIZES))
def test_a_batch_is_answered_as_the_parent_answers_it(data: st.DataObject, size: int) -> None:
    rows = data.draw(st.integers(1, size))
    x = data.draw(arrays(np.float32, (rows, 4), elements=st.floats(-100, 100, width=32)))
    k = data.draw(arrays(np.int64, (rows,), elements=st.integers(0, 7)))

    expected = dict(zip(("y", "label"), session(None).run(["y", "label"], {"x": x, "k": k}), strict=True))
    got = dict(zip(("y", "label"), session(size).run(["y", "label"], {"x": x, "k": k}), strict=True))

    np.testing.assert_allclose(got["y"], expected["y"], atol=1e-5)
    # Scores nearer than rounding may rank either way.
    top = np.sort(expected["y"], axis=1)
    clear = top[:, -1] - top[:, -2] > 1e-5
    np.testing.assert_array_equal(got["label"][clear], expected["label"][clear])
