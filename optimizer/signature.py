"""What a model takes and gives, read off its graph and tried on rows; a variant with another signature than its task's
is never registered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ValueInfoProto

from optimizer.artifact import check
from optimizer.sources.batch_axis import Probe, freed, inputs_of
from optimizer.sources.rows import as_array
from registry.errors import InvalidValue
from registry.model import Task, TensorSpec
from registry.sections import nearest
from runtime.codecs.binary import DTYPES, datatype_of
from runtime.errors import InvalidTensor

Arrays = Mapping[str, NDArray[Any]]

TRIED = (1, 2, 3)
"""Rows of the runs that tell which extents stay: more than one size, and one row, as most callers ask for."""


@dataclass(frozen=True, slots=True, eq=False)
class Signature:
    """A model that takes any number of rows, with its inputs and outputs, and rows for it."""

    model: bytes
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    rows: dict[str, NDArray[Any]]
    """In the datatypes and shapes of the inputs."""


def infer(model: bytes, rows: Arrays, *, where: str = "X") -> Signature:
    """The signature of a model, which is run on a few of these rows; `where` says whence they are.

    A batch axis that was fixed when the model was exported is freed where that changes no answer. Raises InvalidValue
    naming the array, the problem and the fix, where the rows do not fit or the model cannot take other numbers of
    rows. The model must be harmless (`optimizer.vet`), for it runs in this process.
    """
    proto = check(model)
    inputs = tuple(_declared(value, rows) for value in inputs_of(proto))
    arrays = conform(inputs, rows, where=where)
    inputs = tuple(_finite(spec, arrays[spec.name]) for spec in inputs)
    free = freed(proto, arrays)
    return Signature(free, inputs, _outputs(free, inputs, arrays), arrays)


def conform(inputs: Sequence[TensorSpec], rows: Arrays, *, where: str = "X") -> dict[str, NDArray[Any]]:
    """Rows in the datatypes and shapes of these inputs, where no number changes but by rounding; others are left out.

    Raises InvalidValue naming the array, the problem and the fix.
    """
    arrays = {spec.name: _fitted(spec, rows, where) for spec in inputs}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        told = ", ".join(f"{name} {count}" for name, count in lengths.items())
        raise InvalidValue(where, f"has arrays of different lengths or none: {told}", "give each the same rows")
    return arrays


def check_outputs(task: Task, outputs: Mapping[str, NDArray[Any]], rows: int) -> None:
    """Raise InvalidValue unless a run of `rows` rows gave exactly the task's outputs, in its datatypes and shapes."""
    wanted = [spec.name for spec in task.outputs]
    if set(outputs) != set(wanted):
        raise InvalidValue("model", f"gives the outputs {sorted(outputs)}", f"export it with {sorted(wanted)}")
    for spec in task.outputs:
        _check(spec, outputs[spec.name], rows)


def _check(spec: TensorSpec, array: NDArray[Any], rows: int) -> None:
    extents = (rows if spec.shape[0] == -1 else spec.shape[0], *spec.shape[1:])
    alike = array.ndim == len(extents) and all(
        want in (-1, got) for want, got in zip(extents, array.shape, strict=True)
    )
    if array.dtype != DTYPES[spec.datatype] or not alike:
        raise InvalidValue(
            f"model output {spec.name}",
            f"is {array.dtype} {list(array.shape)} for {rows} rows",
            f"export it as {spec.datatype} {list(spec.shape)}",
        )


def _declared(value: ValueInfoProto, rows: Arrays) -> TensorSpec:
    """An input as the graph declares it, its first axis free; an undeclared shape is that of the rows."""
    tensor = value.type.tensor_type
    try:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        datatype = "BYTES" if dtype.kind in "OSU" else datatype_of(value.name, np.empty(0, dtype))
    except (KeyError, InvalidTensor) as fault:
        problem = f"is of ONNX's element type {tensor.elem_type}, which no caller can send"
        raise InvalidValue(f"model input {value.name}", problem, f"export it as one of {sorted(DTYPES)}") from fault
    if not tensor.HasField("shape"):
        given = rows.get(value.name)
        return TensorSpec(value.name, datatype, (-1, *(given.shape[1:] if given is not None else ())))
    extents = [dim.dim_value if dim.dim_value > 0 else -1 for dim in tensor.shape.dim]
    if not extents:
        raise InvalidValue(f"model input {value.name}", "is one number for all rows", "export it with a batch axis")
    return TensorSpec(value.name, datatype, (-1, *extents[1:]))


def _fitted(spec: TensorSpec, rows: Arrays, where: str) -> NDArray[Any]:
    name = f"{where}: {spec.name}"
    if spec.name not in rows:
        hint = nearest(spec.name, rows)
        problem = f"is missing, and the model takes {spec.datatype} {list(spec.shape)} under this name"
        raise InvalidValue(name, problem, f"name the array as the input ({hint})")
    array = as_array(rows[spec.name], name)
    array = _cast(array, spec, name)
    if array.ndim == 1 and spec.shape == (-1, 1):
        array = array.reshape(-1, 1)
    if array.ndim != len(spec.shape) or any(w not in (-1, g) for w, g in zip(spec.shape, array.shape, strict=True)):
        problem = f"has shape {list(array.shape)}, and the model takes {list(spec.shape)}"
        raise InvalidValue(name, problem, "give rows of the model's shape, -1 being any extent")
    return array


def _cast(array: NDArray[Any], spec: TensorSpec, name: str) -> NDArray[Any]:
    dtype = DTYPES[spec.datatype]
    if array.dtype == dtype:
        return array
    told = "strings" if array.dtype == object else str(array.dtype)
    if object in (array.dtype, dtype) or (array.dtype.kind == "f" and dtype.kind != "f"):
        raise InvalidValue(name, f"holds {told}, and the model takes {spec.datatype}", "give values of that kind")
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    finite = np.isfinite(array) if array.dtype.kind == "f" else np.ones(array.shape, dtype=bool)
    same = np.isfinite(cast[finite]).all() if dtype.kind == "f" else np.array_equal(cast, array)
    if not same:
        raise InvalidValue(
            name, f"holds {told} beyond the range of {spec.datatype}", "scale it, or leave such rows out"
        )
    return cast


def _finite(spec: TensorSpec, array: NDArray[Any]) -> TensorSpec:
    """With NaN and infinities allowed where the rows have some: what is judged on them is meant to take them."""
    finite = array.dtype.kind != "f" or bool(np.isfinite(array).all())
    return TensorSpec(spec.name, spec.datatype, spec.shape, finite)


def _outputs(model: bytes, inputs: Sequence[TensorSpec], rows: Arrays) -> tuple[TensorSpec, ...]:
    probe = Probe(model)
    runs = {count: probe.run(rows, count) for count in TRIED}
    # Only where an input may be of any length can an output's length differ from one run to the next.
    changing = any(-1 in spec.shape[1:] for spec in inputs)
    declared = {value.name: value for value in check(model).graph.output}
    return tuple(
        _output(name, {count: run[name] for count, run in runs.items()}, declared[name], changing) for name in runs[1]
    )


def _output(name: str, runs: Mapping[int, NDArray[Any]], declared: ValueInfoProto, changing: bool) -> TensorSpec:
    for count, array in runs.items():
        if array.shape[:1] != (count,):
            problem = f"has shape {list(array.shape)} for {count} rows"
            raise InvalidValue(f"model output {name}", problem, "export a model that answers row by row")
    first = runs[TRIED[0]]
    known = [dim.dim_value for dim in declared.type.tensor_type.shape.dim[1:]]
    extents = [
        extent if not changing or (axis < len(known) and known[axis] > 0) else -1
        for axis, extent in enumerate(first.shape[1:])
    ]
    if any(
        extent == 0 or {array.shape[axis + 1] for array in runs.values()} - {extent, first.shape[axis + 1]}
        for axis, extent in enumerate(extents)
    ):
        raise InvalidValue(f"model output {name}", "differs in shape from row to row", "export it with a fixed shape")
    datatype = "BYTES" if first.dtype.kind in "OSU" else datatype_of(name, first)
    return TensorSpec(name, datatype, (-1, *extents))
