"""Rows as people hold them (an array, a frame, arrays by name) as arrays by name; changes no number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import InvalidValue
from registry.sections import nearest

Rows = Mapping[str, NDArray[Any]]
"""Inputs by name; axis 0 of each is the row."""

EXACT = 1 << 24
"""Whole numbers up to here are exact in FP32 (IEEE 754: 24 bits of significand)."""


def is_frame(X: Any) -> bool:  # noqa: N803 - as every library of models calls its rows
    """Whether rows come as columns by name: a pandas or polars frame."""
    return hasattr(X, "columns") and hasattr(X, "__getitem__") and not isinstance(X, Mapping)


def by_name(X: Any, names: Sequence[str]) -> dict[str, NDArray[Any]]:  # noqa: N803
    """Rows for a model whose inputs have these names, as arrays.

    A mapping or a frame gives each by its name, a tuple in the model's order, and a single array is the only input.
    Raises InvalidValue naming the inputs and what was given.
    """
    if is_frame(X):
        X = {str(name): X[name] for name in X.columns}  # noqa: N806
    if isinstance(X, Mapping):
        return _matched(X, names)
    if isinstance(X, tuple) and len(X) == len(names):
        return {name: as_array(part, name) for name, part in zip(names, X, strict=True)}
    if len(names) != 1:
        fix = f"give X as a mapping with arrays for {', '.join(names)}"
        raise InvalidValue("X", f"is one array, and the model has {len(names)} inputs", fix)
    return {names[0]: as_array(X, names[0])}


def as_array(values: Any, name: str) -> NDArray[Any]:
    """Values of any library as an array of numbers, truths or strings; raises InvalidValue for anything else."""
    _check_rows(values, name)
    array = np.asarray(values)
    if not array.ndim:
        problem = f"is {'None' if values is None else f'one {type(values).__name__}'}, and no rows"
        raise InvalidValue(name, problem, "give an array, a frame, or a mapping from inputs to arrays")
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind in "SUOT":
        return _strings(array, name)
    fix = "encode it as numbers or strings, as the model was trained on"
    raise InvalidValue(name, f"has values of dtype {array.dtype}", fix)


def _check_rows(values: Any, name: str) -> None:
    """Refuse what holds rows, and in a form that no tensor has."""
    module, kind = type(values).__module__, type(values).__name__
    if module.startswith("scipy.sparse"):
        fix = (
            "give it dense (.toarray()), or put what makes it sparse into the Pipeline and give the rows from before it"
        )
        raise InvalidValue(name, f"is a sparse matrix ({kind}), and models are served dense tensors", fix)
    if (module, kind) in (
        ("xgboost.core", "DMatrix"),
        ("xgboost.core", "QuantileDMatrix"),
        ("lightgbm.basic", "Dataset"),
    ):
        problem = f"is a {kind}, which only {module.partition('.')[0]} reads"
        raise InvalidValue(name, problem, "give the array or frame that it was made of")


def exact_in_fp32(array: NDArray[Any]) -> bool:
    """Whether FP32 holds these whole numbers or truths as they are."""
    return array.dtype.kind == "b" or not array.size or bool(np.abs(array.astype(np.float64)).max() <= EXACT)


def _matched(X: Mapping[str, Any], names: Sequence[str]) -> dict[str, NDArray[Any]]:  # noqa: N803
    missing = [name for name in names if name not in X]
    if missing:
        raise InvalidValue(
            f"X[{missing[0]!r}]", f"is missing; X has {sorted(map(str, X))}", "name it as the model does"
        )
    unknown = [name for name in X if name not in names]
    if unknown:
        raise InvalidValue(f"X[{unknown[0]!r}]", "is no input of the model", nearest(str(unknown[0]), names))
    return {name: as_array(X[name], name) for name in names}


def _strings(array: NDArray[Any], name: str) -> NDArray[Any]:
    """As object arrays of `bytes`, the form of BYTES tensors."""
    given = array.ravel()
    strings = np.empty(given.size, dtype=object)
    for i, value in enumerate(given):
        if _is_missing(value):
            fix = "fill it, with '' say, here and where the model is trained"
            raise InvalidValue(name, f"row {i} is missing, and a tensor of strings has no missing ones", fix)
        if not isinstance(value, str | bytes):
            fix = "give strings, or numbers in an array of a numeric dtype"
            raise InvalidValue(name, f"row {i} holds {type(value).__name__} {value!r:.40}, no string", fix)
        strings[i] = value.encode() if isinstance(value, str) else bytes(value)
    return strings.reshape(array.shape)


def _is_missing(value: object) -> bool:
    return value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and isnan(value))
