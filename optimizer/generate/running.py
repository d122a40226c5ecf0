"""A model run in this process, to look at its answers; never for measuring time, and never for serving."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from optimizer.errors import GenerationFailed
from optimizer.generate.generated import Parent
from registry.model import TensorSpec
from runtime.codecs.binary import DTYPES

Arrays = Mapping[str, NDArray[Any]]

BATCH = 64
"""Rows per run, so that memory stays small."""

SEED = 0


def answers(generator: str, model: bytes, inputs: Arrays) -> dict[str, NDArray[Any]]:
    """A model's outputs by name for these inputs; axis 0 is the row. Strings are `bytes` on both sides.

    Raises GenerationFailed in the name of `generator` when the model cannot be loaded or run.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    fed = {name: _as_str(array) for name, array in inputs.items()}
    rows = len(next(iter(fed.values())))
    try:
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"], enable_fallback=0)
        names = [output.name for output in session.get_outputs()]
        parts = [
            session.run(names, {name: array[start : start + BATCH] for name, array in fed.items()})
            for start in range(0, rows, BATCH)
        ]
    except Exception as fault:  # noqa: BLE001 - onnxruntime's status classes have no common root
        raise GenerationFailed(generator, " ".join(str(fault).split())[:300]) from None
    return {
        name: _as_bytes(np.concatenate(column)) for name, column in zip(names, zip(*parts, strict=True), strict=True)
    }


def probe(parent: Parent, rows: int) -> dict[str, NDArray[Any]]:
    """Up to `rows` calibration rows; where there are none, `rows` random ones that fit the task's inputs."""
    if parent.rows:
        return {name: array[:rows] for name, array in parent.rows.items()}
    source = np.random.default_rng(SEED)
    return {spec.name: _random(spec, rows, source) for spec in parent.task.inputs}


def _random(spec: TensorSpec, rows: int, source: np.random.Generator) -> NDArray[Any]:
    shape = (rows, *(max(1, extent) for extent in spec.shape[1:]))
    if spec.datatype == "BYTES":
        return np.full(shape, b"a", dtype=object)
    dtype = DTYPES[spec.datatype]
    if dtype.kind == "f":
        return source.normal(size=shape).astype(dtype)
    return source.integers(0, 2 if dtype.kind == "b" else 8, shape).astype(dtype)


def _as_str(array: NDArray[Any]) -> NDArray[Any]:
    return _strings(array, bytes.decode) if array.dtype == object else np.ascontiguousarray(array)


def _as_bytes(array: NDArray[Any]) -> NDArray[Any]:
    return _strings(array, str.encode) if array.dtype == object else array


def _strings(array: NDArray[Any], convert: Any) -> NDArray[Any]:
    converted = np.empty(array.size, dtype=object)
    converted[:] = [convert(value) for value in array.ravel()]
    return converted.reshape(array.shape)
