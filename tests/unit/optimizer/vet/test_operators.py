"""Operators on the list and functions of the model's own, counted as they would be expanded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from optimizer.errors import ModelRefused, Reason
from optimizer.vet.caps import CAPS
from optimizer.vet.operators import CONTRIBUTED, RANDOM, check_operators


def model(*nodes: Any, functions: tuple[Any, ...] = (), weights: tuple[Any, ...] = ()) -> Any:
    """A model of these nodes."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy"]
    return helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:], weights), functions=functions)


def doubling(name: str, inner: str) -> Any:
    """A function that calls another twice."""
    nodes = [helper.make_node(inner, ["a"], ["t"], domain="own"), helper.make_node(inner, ["t"], ["b"], domain="own")]
    return helper.make_function("own", name, ["a"], ["b"], nodes, [helper.make_opsetid("own", 1)])


ONE = helper.make_function(
    "own", "f0", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], [helper.make_opsetid("", 18)]
)


@pytest.mark.parametrize(
    ("domain", "name"), [("", "Relu"), ("ai.onnx", "Relu"), ("ai.onnx.ml", "Scaler"), ("com.microsoft", "FusedMatMul")]
)
def test_known_operators_pass(domain: str, name: str) -> None:
    check_operators(model(helper.make_node(name, ["x"], ["y"], domain=domain)), CAPS)


@pytest.mark.parametrize(
    ("domain", "name", "reason"),
    [
        ("", "Scaler", Reason.UNKNOWN_OPERATOR),
        ("ai.onnx.ml", "Relu", Reason.UNKNOWN_OPERATOR),
        ("com.microsoft", "EPContext", Reason.UNKNOWN_OPERATOR),
        ("com.microsoft", "Sampling", Reason.NONDETERMINISTIC),
        ("com.microsoft.nchwc", "Conv", Reason.UNKNOWN_DOMAIN),
        ("AI.ONNX", "Relu", Reason.UNKNOWN_DOMAIN),
        ("own", "f1", Reason.UNKNOWN_DOMAIN),
    ],
)
def test_others_do_not(domain: str, name: str, reason: Reason) -> None:
    with pytest.raises(ModelRefused) as refused:
        check_operators(model(helper.make_node(name, ["x"], ["y"], domain=domain), functions=(ONE,)), CAPS)

    assert refused.value.reason is reason


def test_no_random_operator_is_on_the_list() -> None:
    assert not CONTRIBUTED & RANDOM


def test_functions_count_as_expanded() -> None:
    functions = (ONE, *(doubling(f"f{i + 1}", f"f{i}") for i in range(5)))
    made = model(helper.make_node("f5", ["x"], ["y"], domain="own"), functions=functions)

    check_operators(made, replace(CAPS, nodes=32))

    with pytest.raises(ModelRefused, match="expanded it has 32 nodes"):
        check_operators(made, replace(CAPS, nodes=31))
    with pytest.raises(ModelRefused, match="more than 5 deep"):
        check_operators(made, replace(CAPS, depth=5))


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("as_node", [True, False])
def test_dropout_is_fine_where_it_is_always_off(mode: bool, as_node: bool) -> None:
    flag = numpy_helper.from_array(np.array(mode), "mode")
    nodes = [helper.make_node("Constant", [], ["mode"], value=flag)] if as_node else []
    made = model(*nodes, helper.make_node("Dropout", ["x", "", "mode"], ["y"]), weights=() if as_node else (flag,))

    if mode:
        with pytest.raises(ModelRefused, match="training mode"):
            check_operators(made, CAPS)
    else:
        check_operators(made, CAPS)


def test_dropout_in_a_mode_that_is_computed_is_refused() -> None:
    with pytest.raises(ModelRefused, match="training mode"):
        check_operators(model(helper.make_node("Dropout", ["x", "", "given"], ["y"])), CAPS)


def test_dropout_without_a_mode_is_off() -> None:
    check_operators(model(helper.make_node("Dropout", ["x"], ["y"])), CAPS)
