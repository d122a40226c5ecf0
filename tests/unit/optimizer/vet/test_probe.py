"""Sound models pass; extents that are known are tried first, and others guessed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from onnx import TensorProto, helper

from optimizer.errors import ModelRefused, Reason
from optimizer.vet.caps import CAPS
from optimizer.vet.probe import EXTENTS, Probe, probe
from runtime.ort import OrtSession

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def of(*nodes: Any, shape: tuple[Any, ...] = ("n", "t"), weights: tuple[Any, ...] = ()) -> bytes:
    """A model from `x` to `y`."""
    values = [helper.make_tensor_value_info("x", FLOAT, shape), helper.make_tensor_value_info("y", FLOAT, None)]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], weights)
    opsets = [helper.make_opsetid("", 18)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())


def takes(extent: int) -> bytes:
    """A model that says any second axis will do, and runs on one."""
    weight = helper.make_tensor("w", FLOAT, [extent, 1], [1.0] * extent)
    return of(helper.make_node("MatMul", ["x", "w"], ["y"]), weights=(weight,))


def test_a_network_passes(model: bytes) -> None:
    probe(model, CAPS, {})


@pytest.mark.parametrize("extent", EXTENTS[:1] + EXTENTS[2:])
def test_usual_extents_are_guessed(extent: int) -> None:
    probe(takes(extent), CAPS, {})


def test_an_unusual_extent_has_to_be_known() -> None:
    with pytest.raises(ModelRefused) as refused:
        probe(takes(7), CAPS, {})

    assert refused.value.reason is Reason.NEVER_RUNS
    probe(takes(7), CAPS, {"x": (7,)})
    probe(takes(7), CAPS, {"another": (1,), "x": (7,)})


@pytest.mark.parametrize("known", [{"x": (7, 7)}, {"another": (3,)}, {"x": ()}])
def test_extents_of_another_rank_or_input_are_passed_over(known: dict[str, tuple[int, ...]]) -> None:
    probe(takes(8), CAPS, known)


def test_fixed_axes_are_tried_once() -> None:
    session = OrtSession(of(helper.make_node("Relu", ["x"], ["y"]), shape=("n", 4)), "/", threads=1, prepack=False)

    assert list(Probe(session, CAPS)._candidates({"x": (9,)})) == [{"x": (4,)}]


def test_rows_may_be_as_large_as_the_cap_and_no_larger() -> None:
    model = of(helper.make_node("Relu", ["x"], ["y"]), shape=("n", 4))

    probe(model, replace(CAPS, row_bytes=16), {})

    with pytest.raises(ModelRefused, match="3 rows make 48 bytes") as refused:
        probe(model, replace(CAPS, row_bytes=15), {})
    assert refused.value.reason is Reason.OUTPUT_TOO_LARGE


def codes(known: int, *nodes: Any) -> bytes:
    """A model of so many codes, with a number for each; `nodes` go on from `g`, the number, to `y`."""
    table = helper.make_tensor("table", FLOAT, [known, 1], [float(code % 7) for code in range(known)])
    values = [helper.make_tensor_value_info("x", INT64, ["n", 1]), helper.make_tensor_value_info("y", FLOAT, None)]
    made = [helper.make_node("GatherND", ["table", "x"], ["g"]), *nodes]
    graph = helper.make_graph(made, "g", values[:1], values[1:], [table])
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    )


@pytest.mark.parametrize("known", range(2, 12))
def test_a_model_may_know_few_codes(known: int) -> None:
    probe(codes(known, helper.make_node("Relu", ["g"], ["y"])), CAPS, {})


@pytest.mark.parametrize("known", [2, 5, 9, 10])
def test_rows_of_few_codes_may_not_mix_either(known: int) -> None:
    with pytest.raises(ModelRefused) as refused:
        probe(codes(known, helper.make_node("Softmax", ["g"], ["y"], axis=0)), CAPS, {})

    assert refused.value.reason is Reason.MIXES_ROWS


def test_what_takes_three_rows_only_fails_on_batches() -> None:
    three = helper.make_tensor("three", INT64, [2], [3, 4])
    made = of(helper.make_node("Reshape", ["x", "three"], ["y"]), shape=("n", 4), weights=(three,))

    with pytest.raises(ModelRefused, match="fails on some batches of ordinary rows") as refused:
        probe(made, CAPS, {})

    assert refused.value.reason is Reason.NEVER_RUNS


def test_a_model_may_raise_on_edges() -> None:
    """It gathers by its input, of which only ordinary numbers are in bounds."""
    probe(codes(10, helper.make_node("Relu", ["g"], ["y"])), CAPS, {})
