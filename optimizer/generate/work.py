"""How much an ONNX model computes for one row, counted from its graph; never measured, so only good for ratios."""

from __future__ import annotations

import math

import onnx
from onnx import ModelProto, NodeProto

from optimizer.generate.ensembles import VOTES

VISIT = 50
"""Multiply-adds that a visit of a tree's node is worth: 7 ns against 0.14 ns, where one row was measured (one core with
AVX-512, forests of 200 trees, networks of 256 and 1,024 units). In batches it is several times that."""


LOOKED_UP = frozenset({"Gather", "GatherElements", "GatherND", "ArrayFeatureExtractor"})
"""Operators that read a few of their constants, and compute with none."""


def multiply_adds(model: ModelProto) -> int:
    """Multiply-adds for one row: each weight once, a convolution's as often as it is moved, and visits of trees."""
    extents = _extents(model)
    weights = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    return sum(_of(node, weights, extents) for node in model.graph.node)


def _of(node: NodeProto, weights: dict[str, int], extents: dict[str, int]) -> int:
    if node.op_type in VOTES:
        return VISIT * _visits(node)
    if node.op_type in LOOKED_UP:
        return 0
    moved = extents.get(node.output[0], 1) if node.op_type.startswith(("Conv", "QLinearConv")) else 1
    # Operators of ai.onnx.ml keep their weights in attributes.
    return moved * sum(weights.get(name, 0) for name in node.input) + sum(len(a.floats) for a in node.attribute)


def _visits(node: NodeProto) -> int:
    """As if the trees were balanced and of one size: none is shallower on the whole."""
    attributes = {attribute.name: attribute for attribute in node.attribute}
    trees = len(set(attributes["nodes_treeids"].ints))
    leaves = sum(mode == b"LEAF" for mode in attributes["nodes_modes"].strings)
    return trees * (1 + math.ceil(math.log2(max(1.0, leaves / trees))))


def _extents(model: ModelProto) -> dict[str, int]:
    """How many places each image-shaped tensor has, by name; what shape inference cannot tell is left out."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except onnx.shape_inference.InferenceError:
        return {}
    places = {}
    for value in (*inferred.graph.value_info, *inferred.graph.output):
        extents = [d.dim_value for d in value.type.tensor_type.shape.dim[2:]]
        if extents and all(extents):
            places[value.name] = math.prod(extents)
    return places
