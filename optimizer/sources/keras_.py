"""Keras models: Keras 3 exports itself, Keras 2 goes through tf2onnx; both only where they are installed already."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import onnx

from optimizer.sources.libraries import described, need
from optimizer.sources.rows import Rows, by_name
from optimizer.sources.tidy import tidy

OPSET = 18
"""The newest that tf2onnx tests (its README, "Supported Versions")."""


def rows(model: Any, X: Any) -> Rows:  # noqa: N803
    """Arrays by the names of the model's inputs."""
    return by_name(X, [_plain(tensor.name) for tensor in model.inputs])


def convert(model: Any, rows: Rows) -> bytes:
    """As ONNX, with Keras' names."""
    need("tf2onnx", "tf2onnx", model=described(model))
    if hasattr(model, "export"):  # Keras 3, whose models tf2onnx.convert.from_keras cannot read (its issue 2348)
        with tempfile.TemporaryDirectory(prefix="modelless-keras-") as folder:
            path = Path(folder, "model.onnx")
            model.export(str(path), format="onnx", verbose=False)
            return tidy(onnx.load_model(path))
    proto, _ = need("tf2onnx.convert", "tf2onnx", model=described(model)).from_keras(model, opset=OPSET)
    return tidy(proto)


def _plain(name: str) -> str:
    """A tensor's name without the number of the output that TensorFlow appends."""
    return name.partition(":")[0]
