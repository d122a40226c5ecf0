"""Whether a variant answers as its task promises; a variant with another signature is never registered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from registry.errors import InvalidValue
from registry.model import Task, TensorSpec
from runtime.codecs.binary import DTYPES


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
