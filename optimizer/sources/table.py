"""Every kind of model that can be registered, found by the name of its class's module; imports no library for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from optimizer.errors import NotConvertible
from optimizer.sources import boosters, graphs, keras_, pytorch, scikit
from optimizer.sources.libraries import described
from optimizer.sources.rows import Rows


@dataclass(frozen=True, slots=True)
class Source:
    """One library's models."""

    library: str
    """As people call it."""
    rows: Callable[[Any, Any], Rows]
    """From a model and what its library takes for rows: arrays by the names that inputs get. Raises InvalidValue."""
    convert: Callable[[Any, Rows], bytes]
    """From a model and such rows: ONNX, its batch axis free, with dense outputs only. Raises whatever it likes."""
    estimates: bool = False
    """Whether its models are scikit-learn estimators, which know their classes."""


_ONNX = Source("ONNX", graphs.rows, graphs.convert)
_KERAS = Source("Keras", keras_.rows, keras_.convert)

SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        "onnx": _ONNX,
        "lightgbm.basic": Source("LightGBM", boosters.rows, boosters.lightgbm),
        "lightgbm.sklearn": Source("LightGBM", scikit.rows, scikit.convert, estimates=True),
        "xgboost.core": Source("XGBoost", boosters.rows, boosters.xgboost),
        "xgboost.sklearn": Source("XGBoost", scikit.rows, scikit.convert, estimates=True),
        "sklearn": Source("scikit-learn", scikit.rows, scikit.convert, estimates=True),
        "torch.nn": Source("PyTorch", pytorch.rows, pytorch.convert),
        "keras": _KERAS,
        "tf_keras": _KERAS,
        "tensorflow.python.keras": _KERAS,
    }
)
"""By the module of the class, or of one that it inherits from, or a package around it."""


def is_onnx(model: Any) -> bool:
    """Whether a model comes as ONNX: a path, bytes or a ModelProto."""
    return source_of(model) is _ONNX


def source_of(model: Any) -> Source:
    """The source for a model; raises NotConvertible for one of a library that is not in the table."""
    if isinstance(model, str | os.PathLike | bytes | bytearray | memoryview):
        return _ONNX
    for kind in type(model).__mro__:
        parts = kind.__module__.split(".")
        for end in range(len(parts), 0, -1):
            source = SOURCES.get(".".join(parts[:end]))
            if source is not None:
                return source
    libraries = sorted({source.library for source in SOURCES.values()})
    problem = f"is no model of {', '.join(libraries)}"
    raise NotConvertible(described(model), problem, "convert it to ONNX yourself, and give the .onnx file")
