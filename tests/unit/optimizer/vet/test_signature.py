"""Inputs and outputs that can be served, and the axis that batches need."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from optimizer.errors import ModelRefused, Reason
from optimizer.vet.caps import CAPS
from optimizer.vet.signature import SERVED, check_signature, inputs_of


def model(*shape: Any, kind: int = TensorProto.FLOAT) -> Any:
    """A model with one input of this shape."""
    values = [helper.make_tensor_value_info("x", kind, shape), helper.make_tensor_value_info("y", kind, None)]
    return helper.make_model(helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", values[:1], values[1:]))


@pytest.mark.parametrize("kind", sorted(SERVED), ids=TensorProto.DataType.Name)
def test_every_served_type_passes(kind: int) -> None:
    check_signature(model("n", 4, kind=kind), CAPS)


@pytest.mark.parametrize("shape", [("n",), (None, 4), ("n", "n", 3)])
def test_the_first_axis_is_free(shape: tuple[Any, ...]) -> None:
    check_signature(model(*shape), CAPS)


@pytest.mark.parametrize(
    ("shape", "told"), [((1, 4), "fixed at 1"), ((8,), "fixed at 8"), ((0, 4), "fixed at 0"), ((), "has no axes")]
)
def test_a_first_axis_that_is_not_free_is_told(shape: tuple[Any, ...], told: str) -> None:
    with pytest.raises(ModelRefused, match=told) as refused:
        check_signature(model(*shape), CAPS)

    assert refused.value.reason is Reason.NO_BATCH_AXIS


def test_constants_among_the_inputs_are_nobodys_to_give() -> None:
    made = model("n", 4)
    made.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4]))
    made.graph.initializer.append(numpy_helper.from_array(np.zeros(4, np.float32), "w"))

    check_signature(made, CAPS)

    assert [value.name for value in inputs_of(made)] == ["x"]
