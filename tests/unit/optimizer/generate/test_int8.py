"""Quantised models answer nearly the same from a quarter of the bytes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from optimizer.artifact import make_artifact
from optimizer.errors import GenerationFailed
from optimizer.generate.compile_ import optimise
from optimizer.generate.generated import Generated, Parent
from optimizer.generate.int8 import CALIBRATION_ROWS
from optimizer.generate.int8 import int8 as generator
from optimizer.generate.running import answers
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
    defaults = (("mode", "dynamic"), ("per_channel", "false"), ("reduce_range", "true"))
    assert int8(model, "big").recipe == Recipe("int8", "big", defaults)
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


def pixels(rows: int, seed: int = 0) -> dict[str, Any]:
    return {"image": np.random.default_rng(seed).uniform(0, 1, (rows, 64)).astype(np.float32)}


@pytest.mark.parametrize("per_channel", ["true", "false"])
@pytest.mark.parametrize("reduce_range", ["true", "false"])
def test_calibrated_convolutions_answer_nearly_the_same(
    convnet: bytes, digit: Task, answer: Any, per_channel: str, reduce_range: str
) -> None:
    parent = Parent("net", convnet, digit, pixels(120))
    flags = {"mode": "static", "per_channel": per_channel, "reduce_range": reduce_range}

    made = generator.generate(parent, flags)

    assert made.recipe == Recipe("int8", "net", tuple(sorted(flags.items())))
    unseen = pixels(200, seed=1)
    full, small = (answer(m, unseen)["probabilities"] for m in (convnet, made.model))
    assert np.abs(full - small).max() < 0.1
    assert np.corrcoef(full.ravel(), small.ravel())[0, 1] > 0.98
    assert made.model == generator.generate(parent, flags).model


def test_calibrated_convolutions_run_in_eight_bits_on_any_cpu(convnet: bytes, digit: Task) -> None:
    made = generator.generate(Parent("net", convnet, digit, pixels(50)), {"mode": "static"})

    operators = {(node.domain, node.op_type) for node in onnx.load_from_string(optimise(made.model)).graph.node}
    assert {("com.microsoft", "QLinearConv"), ("com.microsoft", "QGemm")} <= operators
    assert not {"Conv", "FusedConv", "Gemm"} & {operator for _, operator in operators}


def test_ranges_are_those_of_all_rows_though_they_come_sorted(model: bytes) -> None:
    rows = np.random.default_rng(3).normal(size=(CALIBRATION_ROWS, 8)).astype(np.float32)
    in_order = np.concatenate([0.01 * rows, rows])

    made = generator.generate(Parent("big", model, TASK, {"x": in_order}), {"mode": "static"})

    given, right = run(made.model, rows), run(model, rows)
    assert np.abs(given - right).max() < 0.1 * np.abs(right).max()


def test_answers_beyond_the_calibration_rows_are_not_clipped(model: bytes) -> None:
    rows = np.random.default_rng(3).normal(size=(64, 8)).astype(np.float32)
    within = np.abs(run(model, rows)).max()
    assert np.abs(run(model, 1.5 * rows)).max() > 1.4 * within

    made = generator.generate(Parent("big", model, TASK, {"x": rows}), {"mode": "static"})

    # Between the layers, values are clipped; of the answers, none.
    assert np.abs(run(made.model, 1.5 * rows)).max() > 1.1 * within


def run(model: bytes, rows: Any) -> Any:
    return answers("test", model, {"x": rows})["y"]


def test_types_are_known_behind_a_scaler(model: bytes) -> None:
    """Shape inference knows nothing of operators of ai.onnx.ml; ONNX Runtime does."""
    proto = onnx.load_from_string(model)
    scaler = helper.make_node("Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[0.5], scale=[2.0])
    proto.graph.node[0].input[0] = "s"
    proto.graph.node.insert(0, scaler)
    proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    rows = np.random.default_rng(3).normal(size=(64, 8)).astype(np.float32)
    source = proto.SerializeToString()

    for flags, product in (({}, "DynamicQuantizeMatMul"), ({"mode": "static"}, "QLinearMatMul")):
        made = generator.generate(Parent("big", source, TASK, {"x": rows}), flags)
        assert product in {node.op_type for node in onnx.load_from_string(optimise(made.model)).graph.node}
        full = run(source, rows)
        assert np.abs(run(made.model, rows) - full).max() < 0.1 * np.abs(full).max()


def test_a_bias_with_a_row_axis_is_quantised_too() -> None:
    """ONNX Runtime's quantiser fails on a scale per channel beside a bias of shape [1, n]."""
    generate = np.random.default_rng(0).normal
    weights = [
        onnx.numpy_helper.from_array(generate(size=s).astype(np.float32), n) for n, s in (("w", (8, 6)), ("b", (1, 6)))
    ]
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"])],
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 6])],
        weights,
    )
    source = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    rows = {"x": generate(size=(40, 8)).astype(np.float32)}

    made = generator.generate(Parent("dense", source, TASK, rows), {"mode": "static", "per_channel": "true"})

    scales = [t for t in onnx.load_from_string(made.model).graph.initializer if list(t.dims) == [6]]
    assert len(scales) >= 2


def test_what_is_proposed(model: bytes, convnet: bytes, digit: Task) -> None:
    def names(parent: Parent) -> list[str]:
        return [name for name, _ in generator.propose(parent)]

    assert names(Parent("big", model, TASK)) == ["int8"]
    assert names(Parent("net", convnet, digit)) == ["int8"]
    assert names(Parent("net", convnet, digit, pixels(50))) == ["int8", "int8-static"]
    for _, parameters in generator.propose(Parent("net", convnet, digit, pixels(50))):
        generator.generate(Parent("net", convnet, digit, pixels(50)), parameters)


def test_static_needs_rows_of_numbers(model: bytes) -> None:
    with pytest.raises(GenerationFailed, match="needs calibration rows"):
        int8(model, "big", {"mode": "static"})
    words = Task("sum", (TensorSpec("x", "BYTES", (-1, 8)),), TASK.outputs, "rmse_skill")
    with pytest.raises(GenerationFailed, match="FP32 inputs only"):
        generator.generate(Parent("big", model, words), {"mode": "static"})


def test_convolutions_alone_wait_for_rows(digit: Task) -> None:
    kernel = onnx.numpy_helper.from_array(np.ones((4, 1, 3, 3), np.float32), "k")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "k"], ["y"])],
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 4, 6, 6])],
        [kernel],
    )
    source = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    with pytest.raises(GenerationFailed, match="convolutions are quantised with calibration rows"):
        generator.propose(Parent("conv", source, digit))
    with pytest.raises(GenerationFailed, match="no weight of this model can be quantised"):
        int8(source, "conv")


def test_nothing_is_logged_and_no_handler_stays(
    convnet: bytes, digit: Task, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    before = (list(root.handlers), list(root.filters))

    for _, parameters in generator.propose(Parent("net", convnet, digit, pixels(50))):
        generator.generate(Parent("net", convnet, digit, pixels(50)), parameters)

    assert not caplog.records
    assert (root.handlers, root.filters) == before
    assert capfd.readouterr() == ("", "")


def test_it_hopes_for_a_quarter_of_the_time(model: bytes) -> None:
    assert generator.expect(Parent("big", model, TASK), {}).latency == 0.25


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
    for ask in (generator.propose, lambda parent: generator.expect(parent, {})):
        with pytest.raises(GenerationFailed, match="no weight of this model can be quantised"):
            ask(Parent("relu", relu, TASK))
    with pytest.raises(GenerationFailed, match="not ONNX"):
        int8(b"nonsense", "x")


def test_the_table_names_it() -> None:
    assert GENERATORS["int8"] is generator
