"""Models that come as ONNX: vetted, with a fixed number of rows or with extents that only their rows tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, load_from_string

from optimizer.errors import ModelRefused, Reason
from optimizer.sources.vetting import class_names, vetted

FLOAT = TensorProto.FLOAT


def product(*shape: Any, operator: str = "MatMul") -> bytes:
    """A model that says `shape` of its input, and runs on 7 columns."""
    values = [helper.make_tensor_value_info("x", FLOAT, shape), helper.make_tensor_value_info("y", FLOAT, [None, 1])]
    weight = helper.make_tensor("w", FLOAT, [7, 1], [1.0] * 7)
    graph = helper.make_graph([helper.make_node(operator, ["x", "w"], ["y"])], "g", values[:1], values[1:], [weight])
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    )


def test_a_sound_model_keeps_its_bytes() -> None:
    assert vetted(product("n", 7)) == product("n", 7)


def test_a_model_of_one_row_is_vetted_with_that_axis_free() -> None:
    assert vetted(product(1, 7)) == product(1, 7)


def test_a_model_of_one_row_that_is_no_better_with_more_is_refused_for_its_first_fault() -> None:
    with pytest.raises(ModelRefused) as refused:
        vetted(product(1, 7, operator="Frobnicate"))
    assert refused.value.reason is Reason.UNKNOWN_OPERATOR

    with pytest.raises(ModelRefused) as refused:
        vetted(product(1, 9))
    assert refused.value.reason is Reason.NO_BATCH_AXIS


def test_rows_tell_the_extents_to_try() -> None:
    model = product("n", "t")

    assert vetted(model, {"x": np.zeros((5, 7)), "y": np.zeros(5)}) == model

    for rows in (None, {"x": np.zeros((5, 9))}, np.zeros((5, 7))):
        with pytest.raises(ModelRefused) as refused:
            vetted(model, rows)
        assert refused.value.reason is Reason.NEVER_RUNS


@pytest.mark.parametrize("rows", [None, 1])
def test_the_classes_of_a_zipmap_are_told_and_its_scores_given(rows: int | None) -> None:
    entries = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(FLOAT, []))
    output = helper.make_value_info("y", helper.make_sequence_type_proto(entries))
    node = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_strings=["no", "yes"])
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", FLOAT, [rows, 2])], [output])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    given = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()

    accepted = vetted(given)

    assert load_from_string(accepted).graph.output[0].type.tensor_type.elem_type == FLOAT
    assert class_names(given, accepted) == ("no", "yes")
    assert class_names(accepted, accepted) == ()
