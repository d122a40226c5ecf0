"""The order of checks, and what comes back."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from optimizer.errors import ModelRefused, Reason
from optimizer.vet.caps import CAPS
from optimizer.vet.examine import examine, parse


def test_an_accepted_model_is_the_same_object(model: bytes) -> None:
    assert examine(model, CAPS, {}) is model


def test_a_rewritten_model_is_the_same_each_time() -> None:
    node = helper.make_node("StringNormalizer", ["x"], ["y"], case_change_action="LOWER")
    values = [helper.make_tensor_value_info(name, TensorProto.STRING, [None]) for name in "xy"]
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()

    accepted = examine(made, CAPS, {})

    assert accepted != made
    assert accepted == examine(made, CAPS, {})
    assert examine(accepted, CAPS, {}) is accepted


def test_what_lies_outside_is_refused_before_the_checker_looks_for_it() -> None:
    made = onnx.ModelProto(ir_version=9)
    tensor = made.graph.initializer.add(name="w", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/dev/zero")

    with pytest.raises(ModelRefused) as refused:
        examine(made.SerializeToString(), CAPS, {})

    assert refused.value.reason is Reason.EXTERNAL_DATA


@pytest.mark.parametrize("data", [b"", b"\x08\x09", b"no model"])
def test_bytes_without_a_graph_are_no_model(data: bytes) -> None:
    with pytest.raises(ModelRefused) as refused:
        parse(data)

    assert refused.value.reason is Reason.NOT_ONNX
