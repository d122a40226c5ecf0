"""Whether a graph multiplies by weights, which is what fewer bits save on; never changes a graph."""

from __future__ import annotations

from collections.abc import Collection

from onnx import GraphProto, TensorProto


def has_weights(graph: GraphProto, operators: Collection[str]) -> bool:
    """Whether one of these standard operators has an operand that is known before anything runs; not in subgraphs."""
    known = {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    for node in graph.node:
        if node.op_type in operators and not node.domain and not known.isdisjoint(node.input[:2]):
            return True
        if known.issuperset(node.input) and (node.input or node.op_type == "Constant"):
            known.update(node.output)
    return False
