"""Gives the scores that a ZipMap would turn into dictionaries as the dense tensor that they were; changes no number.

skl2onnx ends a classifier in one unless it is told otherwise (zipmap=False): FP32 scores [N, C] go in, and out comes a
list of N dictionaries by class, which no tensor protocol can carry.
"""

from __future__ import annotations

from collections.abc import Iterator

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

LABELS = ("classlabels_strings", "classlabels_int64s")

OLDEST = 13
"""The operator set for models that had none of ai.onnx: it has Identity for every type."""


def make_dense(model: ModelProto) -> bool:
    """Let every output that is a ZipMap's be the scores that it took, under its name; says whether any was.

    A ZipMap that feeds anything else, or lies in a subgraph, stays, and so does its output. It must be no function.
    """
    rewritten = False
    for node, output in _zipped(model):
        classes = max((len(a.strings) or len(a.ints) for a in node.attribute if a.name in LABELS), default=0)
        output.type.CopyFrom(helper.make_tensor_type_proto(TensorProto.FLOAT, [None, classes or None]))
        node.op_type, node.domain = "Identity", ""
        del node.attribute[:]
        rewritten = True
    if rewritten and not any(opset.domain in ("", "ai.onnx") for opset in model.opset_import):
        model.opset_import.add(domain="", version=OLDEST)
    return rewritten


def zipped_classes(model: ModelProto) -> tuple[str, ...]:
    """The labels of a ZipMap that `make_dense` would rewrite, where they are strings; none of several."""
    named = [tuple(a.strings) for node, _ in _zipped(model) for a in node.attribute if a.name == LABELS[0]]
    return tuple(label.decode("utf-8", "replace") for label in named[0]) if len(named) == 1 else ()


def _zipped(model: ModelProto) -> Iterator[tuple[NodeProto, ValueInfoProto]]:
    """ZipMaps whose only use is as an output of the graph, with that output."""
    outputs = {value.name: value for value in model.graph.output if value.type.WhichOneof("value") == "sequence_type"}
    read = {name for node in model.graph.node for name in node.input}
    for node in model.graph.node:
        if (node.domain, node.op_type) != ("ai.onnx.ml", "ZipMap") or len(node.output) != 1:
            continue
        if node.output[0] in outputs and node.output[0] not in read:
            yield node, outputs[node.output[0]]
