"""Every message is found, wherever it is nested."""

from __future__ import annotations

import numpy as np
from onnx import AttributeProto, GraphProto, TensorProto, helper, numpy_helper

from optimizer.vet.walk import functions_of, nodes_of, walk


def test_nodes_tensors_and_graphs_are_found_with_their_depth() -> None:
    inner = helper.make_graph([helper.make_node("Relu", ["x"], ["z"])], "inner", [], [])
    inner.initializer.append(numpy_helper.from_array(np.zeros(1), "deep"))
    outer = helper.make_graph([helper.make_node("If", ["c"], ["y"], then_branch=inner)], "outer", [], [])
    body = helper.make_node("Neg", ["a"], ["b"])
    function = helper.make_function("own", "f", ["a"], ["b"], [body], [])
    function.attribute_proto.append(
        AttributeProto(name="w", type=AttributeProto.TENSOR, t=numpy_helper.from_array(np.zeros(1), "default"))
    )
    model = helper.make_model(outer, functions=[function])

    found = list(walk(model))

    assert {m.name for m, _ in found if isinstance(m, TensorProto)} == {"deep", "default"}
    assert {m.name: depth for m, depth in found if isinstance(m, GraphProto)} == {"outer": 0, "inner": 1}
    assert sorted(node.op_type for node in nodes_of(model)) == ["If", "Neg", "Relu"]
    assert list(functions_of(model)) == [("own", "f", "")]
