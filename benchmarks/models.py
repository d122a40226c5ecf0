"""ONNX models of a wanted size for benchmarks; seeded, so every run measures the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def dense(width: int, depth: int, seed: int = 0) -> bytes:
    """A chain of `depth` square float32 MatMuls from `x` [-1, width] to `y`, scaled so that values keep their size."""
    return layers([width] * (depth + 1), seed)


def layers(widths: Sequence[int], seed: int = 0) -> bytes:
    """A chain of float32 MatMuls from `x` [-1, first width] over the others to `y`; values keep their size."""
    draw, depth = np.random.default_rng(seed), len(widths) - 1
    weights = [
        numpy_helper.from_array((draw.normal(size=(rows, columns)) / rows**0.5).astype(np.float32), f"w{layer}")
        for layer, (rows, columns) in enumerate(pairwise(widths))
    ]
    values = ["x", *(f"h{layer}" for layer in range(1, depth)), "y"]
    nodes = [helper.make_node("MatMul", [values[layer], f"w{layer}"], [values[layer + 1]]) for layer in range(depth)]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width])
        for name, width in (("x", widths[0]), ("y", widths[-1]))
    ]
    graph = helper.make_graph(nodes, "dense", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised
