"""A small convolutional network over flat images, as an exporter writes it, and its task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from registry.model import Task, TensorSpec

Arrays = Mapping[str, NDArray[Any]]


def _convnet() -> bytes:
    """Two convolutions and a dense layer, from 64 pixels to ten probabilities and a label."""
    generator = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> Any:
        scale = np.sqrt(2 / np.prod(shape[1:]))
        return numpy_helper.from_array((generator.normal(size=shape) * scale).astype(np.float32), name)

    nodes = [
        # The batch's extent is computed, as tracing exporters do.
        helper.make_node("Shape", ["image"], ["shape"], end=1),
        helper.make_node("Concat", ["shape", "square"], ["extents"], axis=0),
        helper.make_node("Reshape", ["image", "extents"], ["pixels"]),
        helper.make_node("Conv", ["pixels", "k1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p1", "k2", "b2"], ["c2"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Flatten", ["r2"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
        helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "convnet",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 64])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 10]),
        ],
        [
            weight("k1", 16, 1, 3, 3),
            weight("b1", 16),
            weight("k2", 24, 16, 3, 3),
            weight("b2", 24),
            weight("w", 10, 24 * 16),
            weight("b", 10),
            numpy_helper.from_array(np.array([1, 8, 8]), "square"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="session")
def convnet() -> bytes:
    return _convnet()


@pytest.fixture(scope="session")
def digit() -> Task:
    """What the convolutional network does."""
    outputs = (TensorSpec("label", "INT64", (-1,)), TensorSpec("probabilities", "FP32", (-1, 10)))
    return Task("digit", (TensorSpec("image", "FP32", (-1, 64)),), outputs, "accuracy", classes=tuple("0123456789"))


@pytest.fixture(scope="session")
def answer() -> Callable[..., dict[str, NDArray[Any]]]:
    """Runs ONNX bytes on inputs; `final` bytes as they are, others optimised first."""

    def run(model: bytes, inputs: Arrays, *, final: bool = False) -> dict[str, NDArray[Any]]:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        if final:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return run
