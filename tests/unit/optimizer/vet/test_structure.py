"""Tensors of every type: the right number of bytes passes, any other does not; names are text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from optimizer.errors import ModelRefused, Reason
from optimizer.vet.caps import CAPS
from optimizer.vet.structure import BITS, check_structure, check_tensor

TYPES = sorted(BITS)


def model(*nodes: Any, **fields: Any) -> Any:
    """A model of these nodes."""
    graph = helper.make_graph(nodes, "g", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])])
    return helper.make_model(graph, **fields)


@pytest.mark.parametrize("kind", TYPES, ids=TensorProto.DataType.Name)
def test_a_tensor_as_onnx_itself_writes_it_passes(kind: int) -> None:
    check_tensor(helper.make_tensor("w", kind, [3], [0, 1, 1]), CAPS)


@pytest.mark.parametrize("kind", TYPES, ids=TensorProto.DataType.Name)
def test_raw_bytes_are_counted_by_the_bits_of_the_type(kind: int) -> None:
    right = -(-3 * BITS[kind] // 8)

    check_tensor(TensorProto(name="w", data_type=kind, dims=[3], raw_data=bytes(right)), CAPS)

    for size in (right - 1, right + 1):
        with pytest.raises(ModelRefused, match=f"needs {right} bytes and holds {size}"):
            check_tensor(TensorProto(name="w", data_type=kind, dims=[3], raw_data=bytes(size)), CAPS)


@pytest.mark.parametrize(
    "array", [np.float32(3), np.zeros((0, 4), np.int64), np.array(["a", "bc"]), np.zeros((2, 0, 3))]
)
def test_scalars_strings_and_nothing_pass(array: Any) -> None:
    check_tensor(
        numpy_helper.from_array(np.asarray(array, object if np.asarray(array).dtype.kind == "U" else None)), CAPS
    )


def test_numbers_in_another_types_field_do_not_count() -> None:
    with pytest.raises(ModelRefused, match="needs 2 numbers and holds 0"):
        check_tensor(TensorProto(name="w", data_type=TensorProto.BOOL, dims=[2], float_data=[0.0, 1.0]), CAPS)


def test_the_caps_themselves_are_allowed() -> None:
    caps = replace(CAPS, nodes=2, tensors=1, name_bytes=3)
    made = model(helper.make_node("Relu", ["x"], ["abc"]), helper.make_node("Relu", ["abc"], ["y"]))
    made.producer_name = made.graph.name = ""
    made.graph.initializer.append(numpy_helper.from_array(np.zeros(1), "w"))

    check_structure(made, replace(caps, name_bytes=4))

    made.graph.initializer.append(numpy_helper.from_array(np.zeros(1), "v"))
    with pytest.raises(ModelRefused, match="more than 1 initializers"):
        check_structure(made, replace(caps, name_bytes=4))


def test_documentation_and_metadata_may_be_long() -> None:
    made = model(helper.make_node("Relu", ["x"], ["y"], doc_string="d" * 10_000))
    helper.set_model_props(made, {"trained_on": "r" * 10_000})

    check_structure(made, CAPS)


def test_names_are_text() -> None:
    made = model(helper.make_node("Relu", ["x"], ["y"], name="named")).SerializeToString()
    broken = type(model())()
    broken.ParseFromString(made.replace(b"named", b"\xff\xfe\xff\xfe\xff"))

    with pytest.raises(ModelRefused, match="not UTF-8") as refused:
        check_structure(broken, CAPS)

    assert refused.value.reason is Reason.INVALID_GRAPH
