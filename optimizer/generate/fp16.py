"""Sixteen-bit weights and arithmetic for GPUs, inputs and outputs as they were; never judges the loss."""

from __future__ import annotations

from graphlib import TopologicalSorter
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, TensorProto, numpy_helper

from optimizer.artifact import check
from optimizer.errors import GenerationFailed
from optimizer.generate.compile_ import Depth, optimise
from optimizer.generate.generated import Expectation, Generated, Generator, Parameters, Parent
from optimizer.generate.weights import has_weights
from registry.errors import InvalidValue
from registry.model import Recipe, TierKind

OPERATORS = ("Conv", "ConvTranspose", "GRU", "Gemm", "LSTM", "MatMul", "RNN")
"""Operators whose weights are worth halving."""

LARGEST = float(np.finfo(np.float16).max)

_NOTHING = "no weight of this model can be kept in sixteen bits"


def generate(parent: Parent, parameters: Parameters) -> Generated:
    """The parent with FP16 weights and arithmetic, half the size; FP32 inputs and outputs stay FP32.

    For GPUs only: a CPU computes in FP32 all the same, and casts. So the graph is final, lest optimising it on a CPU
    write those casts down. Takes no parameters. Raises GenerationFailed when one is given, the model cannot be read,
    or has no such weights, or some beyond FP16's range.
    """
    if parameters:
        raise GenerationFailed("fp16", f"there are no parameters; {sorted(parameters)} are given")
    try:
        check(parent.model)
        source = onnx.load_from_string(optimise(parent.model, Depth.BASIC))
        if not has_weights(source.graph, OPERATORS):
            raise GenerationFailed("fp16", _NOTHING)
        _need_range(source.graph)
        halved = _convert(source)
    except (InvalidValue, ValueError, RuntimeError, TypeError, KeyError, AssertionError) as fault:
        raise GenerationFailed("fp16", " ".join(str(fault).split())[:500]) from fault
    _sort(halved.graph)
    model = halved.SerializeToString(deterministic=True)
    return Generated(model, Recipe("fp16", parent.name), optimised=True, kinds=frozenset({TierKind.GPU}))


def propose(parent: Parent) -> tuple[tuple[str, Parameters], ...]:
    """One variant; raises GenerationFailed when the model has no weights to halve."""
    expect(parent, {})
    return (("fp16", {}),)


def expect(parent: Parent, parameters: Parameters) -> Expectation:
    """Half the time at the same accuracy: half the bytes to read, and at least twice the arithmetic on tensor cores.

    From NVIDIA's "Train With Mixed Precision", on the performance of reduced precision. Raises GenerationFailed when
    the model has no weights to halve.
    """
    if not has_weights(onnx.load_from_string(parent.model).graph, OPERATORS):
        raise GenerationFailed("fp16", _NOTHING)
    return Expectation(latency=0.5, kinds=frozenset({TierKind.GPU}))


fp16 = Generator(generate, propose, expect)


def _need_range(graph: GraphProto) -> None:
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            largest = np.abs(numpy_helper.to_array(tensor)).max(initial=0.0)
            if np.isfinite(largest) and largest > LARGEST:
                raise GenerationFailed("fp16", f"weight {tensor.name!r} reaches {largest:.3g}, and FP16 {LARGEST:.0f}")


def _convert(model: ModelProto) -> ModelProto:
    # ONNX Runtime's own converter: the one in onnxconverter-common, where it began, is not kept up.
    from onnxruntime.transformers.float16 import convert_float_to_float16  # noqa: PLC0415

    converted: ModelProto = convert_float_to_float16(model, keep_io_types=True)
    return converted


def _sort(graph: GraphProto) -> None:
    """Put every node after those it reads from, as ONNX demands: the converter adds casts at the end."""
    nodes = list(graph.node)
    makers = {name: i for i, node in enumerate(nodes) for name in node.output if name}
    needs = {i: [makers[name] for name in _reads(node) if name in makers] for i, node in enumerate(nodes)}
    order = TopologicalSorter(needs).static_order()
    del graph.node[:]
    graph.node.extend(nodes[i] for i in order)


def _reads(node: Any) -> list[str]:
    """The tensors that a node reads, those that its subgraphs take from outside included."""
    names = list(node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            names += [name for inner in graph.node for name in _reads(inner)]
    return names
