"""Graphs made for one batch size, so that the shapes they would compute are known; never answers other rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, compose, helper, numpy_helper

from optimizer.artifact import check
from optimizer.errors import GenerationFailed
from optimizer.generate.compile_ import best_level, compiled, kinds_for
from optimizer.generate.generated import Expectation, Generated, Generator, Parameters, Parent
from optimizer.generate.running import answers, probe
from registry.errors import InvalidValue
from registry.isa import PORTABLE
from registry.model import Recipe

PARAMETERS: Mapping[str, str] = {"rows": "1", "level": PORTABLE}
"""With their defaults: the batch size, and the CPU feature level to compile for afterwards (`registry.isa`)."""

SIZES = (1, 8)
"""One row is what an idle task is asked; eight are what a batcher finds under load, and padding to more wastes it."""

MOST = 256
"""Largest batch size: its every smaller one is tried before the graph is believed."""

TOLERANCE = 1e-5
"""Relative to the largest answer: products of other numbers of rows are summed in another order."""

_PREFIX = "at_size/"


def generate(parent: Parent, parameters: Parameters) -> Generated:
    """The parent for batches of up to `rows` rows: padded to that many inside, computed, and cut to what came.

    Parameters: `rows`, and `level` as `compile` takes it. Every number of rows up to `rows` is tried against the
    parent, on calibration rows or else on random ones. Raises GenerationFailed when a parameter is unknown, the
    batch's extent is fixed already, ONNX Runtime cannot load the result, or it answers otherwise than the parent.
    """
    chosen = {**PARAMETERS, **parameters}
    rows = _rows(chosen, parameters)
    model = compiled("batch", _specialised(parent, rows), chosen["level"])
    _compare(parent, model, rows)
    recipe = Recipe("batch", parent.name, tuple(sorted(chosen.items())))
    return Generated(model, recipe, max_batch=rows, optimised=True, kinds=kinds_for(chosen["level"]))


def propose(parent: Parent) -> tuple[tuple[str, Parameters], ...]:
    """Each of SIZES that leaves fewer nodes than there were, padding included; raises GenerationFailed if none does.

    Where the nodes stay, so does the time: to 2 % or less with every model of the examples, at both sizes.
    """
    expect(parent, {})
    level = best_level("batch", parent.model)
    before = _count(compiled("batch", parent.model, level))
    worth = [n for n in SIZES if _count(compiled("batch", _specialised(parent, n), level)) < before]
    if not worth:
        raise GenerationFailed("batch", "a fixed batch size leaves no fewer nodes in this graph")
    return tuple((f"batch-{rows}", {"rows": str(rows), "level": level}) for rows in worth)


def expect(parent: Parent, parameters: Parameters) -> Expectation:
    """A little less time: a traced transformer of two layers answered one row in 0.87 of it.

    Raises GenerationFailed when no shape is computed in the graph.
    """
    if not any(node.op_type == "Shape" for node in onnx.load_from_string(parent.model).graph.node):
        raise GenerationFailed("batch", "no shape is computed in this graph")
    return Expectation(latency=0.87)


batch = Generator(generate, propose, expect)


def _rows(chosen: Parameters, given: Parameters) -> int:
    text = chosen["rows"]
    if set(chosen) != set(PARAMETERS) or not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise GenerationFailed("batch", f"parameters {dict(given)} are not rows=1..{MOST} and level")
    return int(text)


def _specialised(parent: Parent, rows: int) -> bytes:
    """The parent's model with its batch's extent fixed, and padded to where that is more than one row."""
    try:
        model = check(parent.model)
    except InvalidValue as fault:
        raise GenerationFailed("batch", fault.problem) from fault
    if rows > 1:
        opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
        if opset < 12:
            raise GenerationFailed("batch", f"padding needs Min on integers, opset 12; this model has {opset}")
        _pad(model, parent, rows)
    else:
        _fix(model.graph, parent, rows)
    return bytes(model.SerializeToString(deterministic=True))


def _fix(graph: GraphProto, parent: Parent, rows: int) -> None:
    """Declare that every input has `rows` rows; what was inferred of the shapes inside is inferred anew."""
    for value in _inputs(graph, parent):
        value.type.tensor_type.shape.dim[0].dim_value = rows
    del graph.value_info[:]


def _inputs(graph: GraphProto, parent: Parent) -> list[ValueInfoProto]:
    """The inputs that have rows, which are all that there are."""
    names = {spec.name for spec in parent.task.inputs}
    if {value.name for value in graph.input} != names:
        raise GenerationFailed("batch", f"the graph's inputs are not {sorted(names)}, the task's")
    for value in graph.input:
        extents = value.type.tensor_type.shape.dim
        if not extents or extents[0].HasField("dim_value"):
            raise GenerationFailed("batch", f"input {value.name!r} has no batch of variable extent")
    return list(graph.input)


def _pad(model: ModelProto, parent: Parent, rows: int) -> None:
    """Put the graph between nodes that repeat the last row until there are `rows`, and that drop the repetitions.

    A repeated row computes what a row may compute, where zeros could divide by zero. More than `rows` rows make the
    last node fail rather than answer a part of them. Rows are taken with GatherND: Gather loses all but the first
    string of a row (onnxruntime 1.32), and of a range becomes Slice, which cuts off what is beyond without a word.
    """
    graph = model.graph
    inputs, outputs = list(map(_copy, _inputs(graph, parent))), list(map(_copy, graph.output))
    # Intermediate names stay: the library misses initializers that subgraphs read.
    compose.add_prefix_graph(
        graph, _PREFIX, rename_edges=False, rename_initializers=False, rename_value_infos=False, inplace=True
    )
    before, after = _padding([v.name for v in inputs], rows), _cutting([v.name for v in outputs])
    nodes = [*before, *graph.node, *after]
    del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.input.extend(inputs)
    graph.output.extend(outputs)
    constants = {"every": np.arange(rows)[:, None], "zero": 0, "one": 1, "column": (-1, 1)}
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value, np.int64), _PREFIX + name) for name, value in constants.items()
    )


def _padding(names: Sequence[str], rows: int) -> list[NodeProto]:
    made = _PREFIX + "{}"
    return [
        helper.make_node("Shape", [names[0]], [made.format("shape")]),
        helper.make_node("Gather", [made.format("shape"), made.format("zero")], [made.format("rows")]),
        helper.make_node("Sub", [made.format("rows"), made.format("one")], [made.format("last")]),
        helper.make_node("Min", [made.format("every"), made.format("last")], [made.format("padded")]),
        *(helper.make_node("GatherND", [name, made.format("padded")], [_PREFIX + name]) for name in names),
    ]


def _cutting(names: Sequence[str]) -> list[NodeProto]:
    made = _PREFIX + "{}"
    ends = [made.format(end) for end in ("zero", "rows", "one")]
    return [
        helper.make_node("Range", ends, [made.format("given")]),
        helper.make_node("Reshape", [made.format("given"), made.format("column")], [made.format("indices")]),
        *(helper.make_node("GatherND", [_PREFIX + name, made.format("indices")], [name]) for name in names),
    ]


def _copy(value: ValueInfoProto) -> ValueInfoProto:
    copied = ValueInfoProto()
    copied.CopyFrom(value)
    return copied


def _count(model: bytes) -> int:
    return len(onnx.load_from_string(model).graph.node)


def _compare(parent: Parent, model: bytes, rows: int) -> None:
    """Refuse a graph that answers any number of rows otherwise than its parent."""
    found = probe(parent, rows)
    have = len(next(iter(found.values())))
    for count in range(1, rows + 1):
        # Rows from the end, so that another one is repeated each time.
        index = (have - 1 - np.arange(count)) % have
        inputs = {name: array[index] for name, array in found.items()}
        expected, got = answers("batch", parent.model, inputs), answers("batch", model, inputs)
        for name in expected:
            if not _same(got[name], expected[name]):
                raise GenerationFailed("batch", f"{name!r} of {count} rows differs: rows depend on each other")


def _same(got: NDArray[Any], expected: NDArray[Any]) -> bool:
    if got.shape != expected.shape or expected.dtype.kind != "f":
        return bool(np.array_equal(got, expected))
    finite = expected[np.isfinite(expected)]
    scale = float(np.abs(finite).max(initial=0.0))
    return bool(np.allclose(got, expected, rtol=TOLERANCE, atol=TOLERANCE * scale, equal_nan=True))
