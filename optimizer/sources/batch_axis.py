"""Graphs that were exported for one number of rows, freed where they run on others alike; never changes a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, ValueInfoProto, numpy_helper

from registry.errors import InvalidValue

SYMBOL = "batch"

FIX = "export it with a dynamic batch axis (torch.onnx.export: dynamic_shapes; skl2onnx: a first extent of None)"

Arrays = Mapping[str, NDArray[Any]]


class Probe:
    """A model run on a few rows of what it is meant for, on one thread; it must be harmless."""

    def __init__(self, model: bytes) -> None:
        """Load it; raises InvalidValue for a model that onnxruntime refuses."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"], enable_fallback=0)
        except Exception as fault:  # noqa: BLE001 - onnxruntime's status classes have no common root
            raise InvalidValue("model", _reason(fault), "export a model that onnxruntime can load") from None

    def run(self, rows: Arrays, count: int) -> dict[str, NDArray[Any]]:
        """The outputs for the first `count` rows, over again from the first when they run out.

        Raises InvalidValue with onnxruntime's reason when the model does not run on them.
        """
        feed = {name: _texts(array[np.arange(count) % len(array)]) for name, array in rows.items()}
        names = [output.name for output in self._session.get_outputs()]
        try:
            outputs = dict(zip(names, self._session.run(names, feed), strict=True))
        except Exception as fault:  # noqa: BLE001 - as above
            raise InvalidValue("model", f"does not run on {count} rows: {_reason(fault)}", FIX) from None
        for name, array in outputs.items():
            if not isinstance(array, np.ndarray):  # whatever the graph declares
                raise InvalidValue(f"model output {name}", "is no dense tensor", "export with dense tensors only")
        return outputs


def inputs_of(model: ModelProto) -> list[ValueInfoProto]:
    """The inputs that a caller gives: older exporters list constants among a graph's inputs."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in constants]


def fixed_rows(model: ModelProto) -> int | None:
    """The number of rows that the inputs of a graph are fixed to; None where any number goes."""
    firsts = [value.type.tensor_type.shape.dim[:1] for value in inputs_of(model)]
    fixed = [first[0].dim_value for first in firsts if first and first[0].WhichOneof("value") == "dim_value"]
    return max(fixed) if fixed else None


def freed(model: ModelProto, rows: Arrays) -> bytes:
    """The model with the first axis of every input and output free.

    A graph that was exported for one number of rows must run on one row, on as many as it was exported for and on
    others, with the same answer for a row whichever rows are beside it. Raises InvalidValue for one that does not:
    the number of rows is then written into the graph, and a guess would mix rows.
    """
    exported_for = fixed_rows(model)
    free = with_free_axes(model)
    if exported_for is not None:
        _check_alike(Probe(model.SerializeToString()), Probe(free), rows, exported_for)
    return free


def with_free_axes(model: ModelProto) -> bytes:
    """The model with a free first axis on every input and output, whether it then runs or not.

    Where it reshapes to the number of rows that it was exported for, it reshapes to as many as there are.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    _free_reshapes(changed, fixed_rows(model))
    for value in (*inputs_of(changed), *changed.graph.output):
        shape = value.type.tensor_type.shape
        if shape.dim:
            shape.dim[0].dim_param = SYMBOL
    # Shapes noted on the way hold for the old number of rows.
    del changed.graph.value_info[:]
    return bytes(changed.SerializeToString(deterministic=True))


def _free_reshapes(model: ModelProto, exported_for: int | None) -> None:
    """Let constant shapes of Reshapes begin with -1, "what is left", where they begin with the number of rows."""
    users = [(name, i, node.op_type) for node in model.graph.node for i, name in enumerate(node.input)]
    shapes = {name for name, i, kind in users if kind == "Reshape" and i == 1}
    others = {name for name, i, kind in users if (kind, i) != ("Reshape", 1)} | {v.name for v in model.graph.output}
    constants = [t for t in model.graph.initializer if t.name in shapes - others]
    for node in model.graph.node:
        if node.op_type == "Constant" and set(node.output) <= shapes - others:
            constants += [attribute.t for attribute in node.attribute if attribute.name == "value"]
    for tensor in constants:
        shape = numpy_helper.to_array(tensor).copy()
        if shape.ndim == 1 and len(shape) > 1 and shape[0] == exported_for and (shape[1:] > 0).all():
            shape[0] = -1
            tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))


def _check_alike(before: Probe, after: Probe, rows: Arrays, exported_for: int) -> None:
    problem = f"takes {exported_for} rows at a time and no others"
    right = before.run(rows, exported_for)
    for count in (1, exported_for + 1, 2 * exported_for + 1):
        try:
            given = after.run(rows, count)
        except InvalidValue:
            raise InvalidValue("model", problem, FIX) from None
        shared = min(count, exported_for)
        for name, array in given.items():
            if array.shape[:1] != (count,) or not _close(array[:shared], right[name][:shared]):
                raise InvalidValue("model", f"{problem}: with {count}, {name!r} changes", FIX)


def _close(given: NDArray[Any], right: NDArray[Any]) -> bool:
    if given.dtype.kind != "f":
        return bool(np.array_equal(given, right))
    # Wide enough for other orders of summation, and for activations that are quantised by the batch.
    return bool(
        np.allclose(given, right, rtol=1e-2, atol=1e-2 * float(np.abs(right).max(initial=1e-3)), equal_nan=True)
    )


def _texts(array: NDArray[Any]) -> NDArray[Any]:
    """Strings as onnxruntime's Python interface takes them: `str` rather than `bytes`."""
    if array.dtype != object:
        return array
    texts = np.empty(array.size, dtype=object)
    texts[:] = [value.decode() if isinstance(value, bytes) else value for value in array.ravel()]
    return texts.reshape(array.shape)


def _reason(fault: Exception) -> str:
    return " ".join(str(fault).split())[:300]
