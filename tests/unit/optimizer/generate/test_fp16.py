"""Halved models answer nearly the same from half the bytes, through the same FP32 inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from optimizer.errors import GenerationFailed
from optimizer.generate.fp16 import fp16
from optimizer.generate.generated import Parent
from optimizer.generate.table import GENERATORS
from registry.model import Recipe, Task, TierKind

Answer = Callable[..., dict[str, Any]]


def test_half_the_bytes_and_nearly_the_answers(convnet: bytes, digit: Task, answer: Answer) -> None:
    made = fp16.generate(Parent("net", convnet, digit), {})

    inputs = {"image": np.random.default_rng(1).uniform(0, 1, (50, 64)).astype(np.float32)}
    full, half = answer(convnet, inputs), answer(made.model, inputs, final=True)
    np.testing.assert_allclose(half["probabilities"], full["probabilities"], atol=1e-2)
    assert half["probabilities"].dtype == np.float32
    assert len(made.model) < 0.6 * len(convnet)


def test_a_dense_network_halves_too(model: bytes, task: Task, answer: Answer) -> None:
    made = fp16.generate(Parent("dense", model, task), {})

    inputs = {"x": np.random.default_rng(1).normal(size=(50, 8)).astype(np.float32)}
    full, half = answer(model, inputs)["y"], answer(made.model, inputs, final=True)["y"]
    np.testing.assert_allclose(half, full, atol=1e-2 * float(np.abs(full).max()))


def test_it_is_final_valid_and_for_gpus(convnet: bytes, digit: Task) -> None:
    made = fp16.generate(Parent("net", convnet, digit), {})

    assert (made.optimised, made.kinds, made.recipe) == (True, {TierKind.GPU}, Recipe("fp16", "net"))
    graph = onnx.load_from_string(made.model)
    onnx.checker.check_model(graph)
    weights = [t.data_type for t in graph.graph.initializer if t.data_type != TensorProto.INT64]
    assert set(weights) == {TensorProto.FLOAT16}
    assert {node.domain for node in graph.graph.node} == {""}
    assert made.model == fp16.generate(Parent("net", convnet, digit), {}).model


def dense(weight: float) -> bytes:
    """One product with a matrix that holds `weight`."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(np.full((8, 4), weight, np.float32), "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(made.SerializeToString())


def relu() -> bytes:
    """A graph without any weight."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "relu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(made.SerializeToString())


def test_weights_beyond_the_range_are_refused(task: Task) -> None:
    fp16.generate(Parent("dense", dense(65504), task), {})
    with pytest.raises(GenerationFailed, match=r"weight 'w' reaches 7e\+04, and FP16 65504"):
        fp16.generate(Parent("dense", dense(7e4), task), {})


def test_what_has_no_weights_is_refused(task: Task) -> None:
    parent = Parent("relu", relu(), task)
    for ask in (lambda: fp16.generate(parent, {}), lambda: fp16.propose(parent), lambda: fp16.expect(parent, {})):
        with pytest.raises(GenerationFailed, match="no weight of this model can be kept in sixteen bits"):
            ask()


def test_nonsense_and_parameters_are_refused(convnet: bytes, digit: Task) -> None:
    with pytest.raises(GenerationFailed, match="not ONNX"):
        fp16.generate(Parent("net", b"nonsense", digit), {})
    with pytest.raises(GenerationFailed, match=r"there are no parameters; \['bits'\]"):
        fp16.generate(Parent("net", convnet, digit), {"bits": "16"})


def test_what_is_proposed_and_hoped_for(convnet: bytes, digit: Task) -> None:
    assert fp16.propose(Parent("net", convnet, digit)) == (("fp16", {}),)
    assert fp16.expect(Parent("net", convnet, digit), {}).latency == 0.5


def test_the_table_names_it() -> None:
    assert GENERATORS["fp16"] is fp16
