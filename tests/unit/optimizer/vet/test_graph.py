"""The checker's and shape inference's judgement, each under its own reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from optimizer.errors import ModelRefused, Reason
from optimizer.vet.caps import CAPS
from optimizer.vet.graph import check_graph


def product(columns: int) -> Any:
    """A product with a weight of 8 rows."""
    weight = numpy_helper.from_array(np.zeros((8, columns), np.float32), "w")
    values = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 16]),
    ]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", values[:1], values[1:], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_a_valid_model_passes(model: bytes) -> None:
    check_graph(onnx.load_from_string(model), CAPS)


def test_what_the_checker_refuses_is_invalid() -> None:
    made = product(16)
    made.graph.node[0].input.append("nowhere")

    with pytest.raises(ModelRefused) as refused:
        check_graph(made, CAPS)

    assert refused.value.reason is Reason.INVALID_GRAPH


def test_what_inference_refuses_is_told_apart() -> None:
    with pytest.raises(ModelRefused, match="16") as refused:
        check_graph(product(15), CAPS)

    assert refused.value.reason is Reason.SHAPE_INFERENCE


def test_a_shape_that_is_known_to_be_large_is_refused_before_it_runs() -> None:
    check_graph(product(16), replace(CAPS, tensor_bytes=64))

    with pytest.raises(ModelRefused, match="'y' is of 64 bytes, more than 63"):
        check_graph(product(16), replace(CAPS, tensor_bytes=63))
