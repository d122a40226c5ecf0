"""ONNX as it comes: a file, bytes or a ModelProto; reads no other kind of file, and a pickle least of all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from onnx import ModelProto

from optimizer.artifact import MAX_MODEL_BYTES, check
from optimizer.errors import NotConvertible
from optimizer.sources.rows import Rows, by_name

PICKLES = frozenset({".pkl", ".pickle", ".joblib", ".sav", ".pt", ".pth", ".ckpt", ".bin", ".dill", ".skops"})
FOREIGN = frozenset({".h5", ".hdf5", ".keras", ".pb", ".tflite", ".json", ".ubj", ".model", ".txt", ".safetensors"})
"""What libraries save models as, that holds weights without the graph, or a graph that only they read."""


def rows(model: Any, X: Any) -> Rows:  # noqa: N803
    """Arrays by the names of the graph's inputs."""
    proto = check(onnx_of(model))
    constants = {tensor.name for tensor in proto.graph.initializer}
    return by_name(X, [value.name for value in proto.graph.input if value.name not in constants])


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
