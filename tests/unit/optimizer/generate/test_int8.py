"""Quantised models answer nearly the same from a quarter of the bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from optimizer.artifact import make_artifact
from optimizer.errors import GenerationFailed
from optimizer.generate.generated import Generated, Parent
from optimizer.generate.int8 import int8 as generator
from optimizer.generate.table import GENERATORS
from registry.blobs.files import Files
from registry.model import Recipe, Task, TensorSpec
from runtime.session import Session

TASK = Task("sum", (TensorSpec("x", "FP32", (-1, 8)),), (TensorSpec("y", "FP32", (-1, 1)),), "rmse_skill")


def int8(model: bytes, name: str, parameters: Mapping[str, str] | None = None) -> Generated:
    return generator.generate(Parent(name, model, TASK), parameters or {})


def test_a_quarter_of_the_bytes_and_nearly_the_answers(model: bytes, tmp_path: Path) -> None:
    generated = int8(model, "big")
    assert len(generated.model) < 0.3 * len(model)
    blobs = Files(tmp_path)
    x = np.random.default_rng(1).normal(size=(16, 8)).astype(np.float32)
    full, small = (
        Session.open(blobs, make_artifact(m, blobs), threads=1, prepack=True).run({"x": x})["y"]
        for m in (model, generated.model)
    )
    assert np.abs(full - small).max() < 0.1 * np.abs(full).max()
    assert np.corrcoef(full.ravel(), small.ravel())[0, 1] > 0.99


def test_the_recipe_says_how(model: bytes) -> None:
    assert int8(model, "big").recipe == Recipe("int8", "big", (("per_channel", "false"), ("reduce_range", "true")))
    recipe = int8(model, "big", {"reduce_range": "false"}).recipe
    assert dict(recipe.parameters)["reduce_range"] == "false"


def test_seven_bits_unless_asked_otherwise(model: bytes) -> None:
    def largest(data: bytes) -> int:
        tensors = [t for t in onnx.load_from_string(data).graph.initializer if t.data_type == TensorProto.INT8]
        return max(int(np.abs(onnx.numpy_helper.to_array(t).astype(int)).max()) for t in tensors)

    assert largest(int8(model, "big").model) <= 64
    assert largest(int8(model, "big", {"reduce_range": "false"}).model) > 64


def test_the_same_bytes_every_time(model: bytes) -> None:
    assert int8(model, "big").model == int8(model, "big").model


@pytest.mark.parametrize("parameters", [{"bits": "4"}, {"reduce_range": "yes"}])
def test_unknown_parameters_are_refused(model: bytes, parameters: dict[str, str]) -> None:
    with pytest.raises(GenerationFailed, match="per_channel"):
        int8(model, "big", parameters)


def test_what_cannot_be_quantised_says_so() -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "relu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 8])],
    )
    relu = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    with pytest.raises(GenerationFailed, match="no weight of this model can be quantised"):
        int8(relu, "relu")
    with pytest.raises(GenerationFailed, match="not ONNX"):
        int8(b"nonsense", "x")


def test_the_table_names_it() -> None:
    assert GENERATORS["int8"] is generator
