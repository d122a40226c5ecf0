"""A small real network, and a task that it does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from registry.model import Task, TensorSpec

WIDTH = 512


def _network(width: int) -> bytes:
    """Two hidden layers of `width`, from 8 columns to one."""
    generator = np.random.default_rng(0)
    weights = {
        "w1": generator.normal(size=(8, width)).astype(np.float32),
        "w2": generator.normal(size=(width, width)).astype(np.float32),
        "w3": generator.normal(size=(width, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w2"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "w3"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="session")
def network() -> Callable[[int], bytes]:
    """ONNX bytes of a network with hidden layers of the width asked for."""
    return _network


@pytest.fixture(scope="session")
def model() -> bytes:
    return _network(WIDTH)


@pytest.fixture(scope="session")
def task() -> Task:
    return Task("sum", (TensorSpec("x", "FP32", (-1, 8)),), (TensorSpec("y", "FP32", (-1, 1)),), "rmse_skill")
