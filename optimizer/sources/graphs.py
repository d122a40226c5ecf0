"""ONNX as it comes: a file, bytes or a ModelProto; reads no other kind of file, and a pickle least of all."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from onnx import ModelProto

from optimizer.artifact import MAX_MODEL_BYTES, check
from optimizer.errors import NotConvertible
from optimizer.sources.batch_axis import inputs_of
from optimizer.sources.rows import Rows, by_name
from registry.errors import InvalidValue

PICKLES = frozenset({".pkl", ".pickle", ".joblib", ".sav", ".pt", ".pth", ".ckpt", ".bin", ".dill", ".skops"})
FOREIGN = frozenset({".h5", ".hdf5", ".keras", ".pb", ".tflite", ".json", ".ubj", ".model", ".txt", ".safetensors"})
"""What libraries save models as, that holds weights without the graph, or a graph that only they read."""


def rows(model: Any, X: Any) -> Rows:  # noqa: N803
    """Arrays by the names of the graph's inputs."""
    proto = check(onnx_of(model))
    return by_name(X, [value.name for value in inputs_of(proto)])


def convert(model: Any, rows: Rows) -> bytes:
    """The bytes as they are; raises NotConvertible for a file that is no .onnx file or cannot be read."""
    return onnx_of(model)


def onnx_of(model: Any) -> bytes:
    """The bytes of a path, of bytes, or of a ModelProto; parses nothing. Raises NotConvertible."""
    if isinstance(model, ModelProto):
        return bytes(model.SerializeToString(deterministic=True))
    if isinstance(model, bytes | bytearray | memoryview):
        return bytes(model)
    return read(Path(os.fspath(model)))


def read(path: Path) -> bytes:
    """The bytes of an .onnx file; raises NotConvertible."""
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        problem = "may be a pickle, and reading one runs whatever code is in it; none is ever read"
        fix = "give an .onnx file; where you trust this one, load it and call modelless.register(task, model, X, y)"
        raise NotConvertible(str(path), problem, fix)
    if suffix in FOREIGN:
        fix = "load it with that library, and call modelless.register(task, model, X, y)"
        raise NotConvertible(str(path), f"is a {suffix} file, which only its own library reads", fix)
    try:
        if path.stat().st_size > MAX_MODEL_BYTES:
            raise NotConvertible(str(path), "is too large", f"give at most {MAX_MODEL_BYTES} bytes")
        return path.read_bytes()
    except OSError as fault:
        raise NotConvertible(str(path), f"cannot be read ({fault.strerror})", "give an .onnx file") from fault


def parted(
    onnx: bytes, arrays: Mapping[str, NDArray[Any]], output: str | None, *, where: str
) -> tuple[dict[str, NDArray[Any]], NDArray[Any], str | None]:
    """Arrays of one file as rows, right answers, and the output that these are for, where their name tells.

    The inputs are known by their names; the answers have an output's name, or are the only other array. Raises
    InvalidValue naming the arrays.
    """
    proto = check(onnx)
    inputs = [value.name for value in inputs_of(proto)]
    outputs = [value.name for value in proto.graph.output]
    missing = [name for name in inputs if name not in arrays]
    others = [name for name in arrays if name not in inputs]
    if missing:
        problem = f"is missing; the file has {sorted(arrays)}, and the model takes {inputs}"
        raise InvalidValue(f"{where}: {missing[0]}", problem, _rename(missing[0], others))
    answers = [name for name in others if name == output] or [name for name in others if name in outputs] or others
    if len(answers) != 1:
        problem = f"holds {answers or 'no array'} beside the inputs {inputs}; the model gives {outputs}"
        raise InvalidValue(where, problem, "add the right answers as one array, named as the output that they are for")
    name = answers[0]
    return {key: arrays[key] for key in inputs}, arrays[name], output or (name if name in outputs else None)


def _rename(name: str, others: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, others, n=1, cutoff=0.4)
    return f"is it {near[0]!r}? name the array as the input" if near else "add the array, named as the input"
