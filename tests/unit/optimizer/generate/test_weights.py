"""Which graphs multiply by weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import GraphProto, TensorProto, helper, numpy_helper

from optimizer.generate.weights import has_weights


def graph(*nodes: Any, kind: Any = np.float32) -> GraphProto:
    weight = numpy_helper.from_array(np.ones((4, 4), kind), "w")
    value = helper.make_tensor_value_info
    inputs, outputs = [value("x", TensorProto.FLOAT, ["n", 4])], [value("y", TensorProto.FLOAT, ["n", 4])]
    return helper.make_graph(list(nodes), "g", inputs, outputs, [weight])


product = helper.make_node("MatMul", ["x", "w"], ["y"])
turned = helper.make_node("MatMul", ["x", "wt"], ["y"])
transpose = helper.make_node("Transpose", ["w"], ["wt"])
constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones((4, 4), np.float32)))


@pytest.mark.parametrize(
    ("found", "has"),
    [
        (graph(product), True),
        (graph(transpose, turned), True),
        (graph(constant, helper.make_node("MatMul", ["c", "x"], ["y"])), True),
        (graph(product, kind=np.int8), False),
        (graph(helper.make_node("MatMul", ["x", "x"], ["y"])), False),
        (graph(helper.make_node("Relu", ["x"], ["r"]), helper.make_node("MatMul", ["x", "r"], ["y"])), False),
        (graph(helper.make_node("MatMul", ["x", "w"], ["y"], domain="elsewhere")), False),
        (graph(helper.make_node("Add", ["x", "w"], ["y"])), False),
        (graph(helper.make_node("RandomNormal", [], ["w2"]), helper.make_node("MatMul", ["x", "w2"], ["y"])), False),
    ],
)
def test_known_operands_count(found: GraphProto, has: bool) -> None:
    assert has_weights(found, ("MatMul", "Gemm")) is has
