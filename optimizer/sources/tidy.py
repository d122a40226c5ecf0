"""What every converter's graph gets at the end: the same bytes each time, and nothing of the machine that made it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from onnx import GraphProto, ModelProto


def tidy(model: ModelProto) -> bytes:
    """The model's bytes, operator sets sorted and listed once, without descriptions and notes.

    skl2onnx lists operator sets in the order of a set, which differs from process to process, and now and then twice;
    PyTorch notes for each node the lines of the files that it comes from.
    """
    versions: dict[str, int] = {}
    for opset in model.opset_import:
        domain = "" if opset.domain == "ai.onnx" else opset.domain
        versions[domain] = max(opset.version, versions.get(domain, 0))
    del model.opset_import[:]
    for domain, version in sorted(versions.items()):
        model.opset_import.add(domain=domain, version=version)
    del model.metadata_props[:]
    model.doc_string = ""
    for noted in _noted(model):
        noted.ClearField("doc_string")
        if "metadata_props" in noted.DESCRIPTOR.fields_by_name:
            noted.ClearField("metadata_props")
    return bytes(model.SerializeToString(deterministic=True))


def renamed(model: ModelProto, old: str, new: str) -> None:
    """Give an output of the graph another name, in place; a name that something else has stays as it is."""
    graph = model.graph
    taken = {name for node in graph.node for name in (*node.input, *node.output)} | {v.name for v in graph.output}
    if old == new or new in taken:
        return
    for value in (*graph.output, *graph.value_info):
        if value.name == old:
            value.name = new
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]


def _noted(model: ModelProto) -> Iterator[Any]:
    """Every part of a model that can carry a note, subgraphs and functions included."""
    graphs: list[GraphProto] = [model.graph]
    nodes = [node for function in model.functions for node in function.node]
    yield from model.functions
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield graph
            yield from (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
            nodes.extend(graph.node)
        else:
            node = nodes.pop()
            yield node
            for attribute in node.attribute:
                graphs += (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs
