"""Any model that can be registered, as ONNX with the rows that came with it; judges and measures nothing."""

from __future__ import annotations

import importlib.metadata
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optimizer.errors import NotConvertible, OptimizerError
from optimizer.sources import scikit
from optimizer.sources.libraries import described
from optimizer.sources.rows import Rows
from optimizer.sources.table import Source, source_of
from registry.errors import RegistryError
from registry.model import NAME, Recipe

DISTRIBUTIONS: Mapping[str, str] = {
    "Keras": "keras",
    "LightGBM": "lightgbm",
    "ONNX": "onnx",
    "PyTorch": "torch",
    "XGBoost": "xgboost",
    "scikit-learn": "scikit-learn",
}
"""Library to the package whose version a recipe records."""


@dataclass(frozen=True, slots=True, eq=False)
class Converted:
    """A model as ONNX, and what is known of it beside its graph."""

    onnx: bytes
    rows: Rows
    """The rows that came with it, by the names of its inputs; in the datatypes that they were given in."""
    recipe: Recipe
    classes: tuple[str, ...] = ()
    """The labels of a classifier, where they are strings and it knows them."""


def convert(model: Any, X: Any) -> Converted:  # noqa: N803 - as every library of models calls its rows
    """The model as ONNX: a path, bytes, an estimator, a Booster, a module, a Keras model.

    `X` are rows as the model takes them. Raises NotConvertible, with what to install where that is the matter, and
    InvalidValue for rows that the model cannot take.
    """
    source = source_of(model)
    try:
        rows = source.rows(model, X)
        with warnings.catch_warnings():
            # Converters look at every attribute, deprecated ones included; a caller can do nothing about it.
            warnings.simplefilter("ignore")
            onnx = source.convert(model, rows)
    except (OptimizerError, RegistryError):
        raise
    except Exception as fault:  # converters raise whatever they like, of many libraries
        reason = " ".join(str(fault).split())[:500] or type(fault).__name__
        fix = "convert it to ONNX yourself, and give the .onnx file"
        raise NotConvertible(described(model), f"{source.library}'s converter failed: {reason}", fix) from fault
    classes = scikit.classes(model) if source.estimates else ()
    return Converted(onnx, rows, _recipe(model, source), classes)


def rows_of(model: Any, X: Any) -> Rows:  # noqa: N803
    """Rows as the model takes them, by the names of its inputs; raises NotConvertible and InvalidValue."""
    return source_of(model).rows(model, X)


def name_of(model: Any) -> str:
    """A name for a variant: the file's, or that of the class, in a Pipeline of the last step's; else `model`."""
    if isinstance(model, str | os.PathLike):
        return _slug(Path(os.fspath(model)).stem)
    steps = getattr(model, "steps", None)
    last = steps[-1][1] if isinstance(steps, list) and steps else model
    kind = type(last).__name__
    return "model" if kind in ("bytes", "bytearray", "memoryview", "ModelProto") else _slug(_spaced(kind))


def _spaced(kind: str) -> str:
    """CamelCase with hyphens: RandomForestClassifier, LGBMRegressor, SmallCNN."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", kind)


def _slug(text: str) -> str:
    name = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("._-")[:64]
    return name if NAME.fullmatch(name) else "model"


def _recipe(model: Any, source: Source) -> Recipe:
    if source.library == "ONNX":
        return Recipe("import")
    try:
        version = importlib.metadata.version(DISTRIBUTIONS[source.library])
    except importlib.metadata.PackageNotFoundError:  # under another name, as xgboost-cpu has
        version = ""
    library = f"{source.library} {version}".strip()
    return Recipe("convert", parameters=(("class", type(model).__name__), ("library", library)))
