"""Every message inside a model, however it is nested; never descends into a tensor's own data."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.message import Message
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto


def walk(root: Message) -> Iterator[tuple[Message, int]]:
    """The messages under `root`, itself included, each with the number of graphs that it is in.

    It goes by protobuf's own reflection rather than by a list of fields, so that a field that ONNX adds is walked too.
    """
    pending: list[tuple[Message, int]] = [(root, 0)]
    while pending:
        message, depth = pending.pop()
        yield message, depth
        if isinstance(message, TensorProto):
            continue
        inside = depth + isinstance(message, GraphProto)
        for field, value in message.ListFields():
            if field.message_type is not None:
                pending.extend((child, inside) for child in ((value,) if isinstance(value, Message) else value))


def nodes_of(root: Message) -> Iterator[NodeProto]:
    """The nodes under `root`, those of subgraphs and functions included."""
    return (message for message, _ in walk(root) if isinstance(message, NodeProto))


def functions_of(model: ModelProto) -> dict[tuple[str, str, str], FunctionProto]:
    """The model's own functions by what a node calls them: domain, name and overload."""
    return {(function.domain, function.name, function.overload): function for function in model.functions}
