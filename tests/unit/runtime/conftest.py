"""Tiny models as artifacts in a real blob store, and a fresh interpreter for what a process can do only once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from optimizer.artifact import make_artifact
from registry.blobs.files import Files

ROOT = Path(__file__).resolve().parents[3]

MakeLinear = Callable[..., str]
RunPython = Callable[..., Any]


def _serialise(nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: list[Any]) -> bytes:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.fixture
def blobs(tmp_path: Path) -> Files:
    """An empty blob store."""
    return Files(tmp_path / "blobs")


@pytest.fixture
def weights() -> NDArray[np.float32]:
    """The 64 × 16 matrix of the `linear` artifact: 4 KiB, so that it is a blob of its own."""
    return np.random.default_rng(7).normal(size=(64, 16)).astype(np.float32)


@pytest.fixture
def make_linear(blobs: Files) -> MakeLinear:
    """The artifact of y = x @ w + bias."""

    def make(w: NDArray[np.float32], bias: float = 0.0) -> str:
        model = _serialise(
            [helper.make_node("MatMul", ["x", "w"], ["xw"]), helper.make_node("Add", ["xw", "b"], ["y"])],
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", w.shape[0]])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", w.shape[1]])],
            [numpy_helper.from_array(w, "w"), numpy_helper.from_array(np.float32([bias]), "b")],
        )
        return make_artifact(model, blobs)

    return make


@pytest.fixture
def linear(make_linear: MakeLinear, weights: NDArray[np.float32]) -> str:
    """The artifact of y = x @ weights."""
    return make_linear(weights)


@pytest.fixture
def deep(blobs: Files) -> str:
    """The artifact of six matrix products, each with a blob of its own."""
    layers = [np.random.default_rng(i).normal(size=(32, 32)).astype(np.float32) for i in range(6)]
    model = _serialise(
        [helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"]) for i in range(6)],
        [helper.make_tensor_value_info("x0", TensorProto.FLOAT, ["n", 32])],
        [helper.make_tensor_value_info("x6", TensorProto.FLOAT, ["n", 32])],
        [numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(layers)],
    )
    return make_artifact(model, blobs)


@pytest.fixture
def gather(blobs: Files) -> str:
    """The artifact of rows[i] for a table of three rows; any other index makes it fail."""
    model = _serialise(
        [helper.make_node("Gather", ["rows", "i"], ["y"])],
        [helper.make_tensor_value_info("i", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(np.float32([[1, 2], [3, 4], [5, 6]]), "rows")],
    )
    return make_artifact(model, blobs)


@pytest.fixture
def every_type(blobs: Files) -> str:
    """An artifact that hands each of its inputs, one of every datatype, to an output `<name>_out`."""
    types = {
        "bool": TensorProto.BOOL,
        "u1": TensorProto.UINT8,
        "u2": TensorProto.UINT16,
        "u4": TensorProto.UINT32,
        "u8": TensorProto.UINT64,
        "i1": TensorProto.INT8,
        "i2": TensorProto.INT16,
        "i4": TensorProto.INT32,
        "i8": TensorProto.INT64,
        "f2": TensorProto.FLOAT16,
        "f4": TensorProto.FLOAT,
        "f8": TensorProto.DOUBLE,
        "text": TensorProto.STRING,
    }
    model = _serialise(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in types],
        [helper.make_tensor_value_info(name, kind, ["n", "m"]) for name, kind in types.items()],
        [helper.make_tensor_value_info(f"{name}_out", kind, ["n", "m"]) for name, kind in types.items()],
        [],
    )
    return make_artifact(model, blobs)


@pytest.fixture
def run_python() -> RunPython:
    """Run a script in a fresh interpreter, its arguments in sys.argv; returns the JSON it prints."""

    def run(script: str, *arguments: str) -> Any:
        command = [sys.executable, "-c", script, *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
