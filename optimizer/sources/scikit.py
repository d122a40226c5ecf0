"""scikit-learn estimators and Pipelines through skl2onnx, boosted ones of LightGBM and XGBoost inside them included."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimizer.errors import NotConvertible
from optimizer.sources import boosters, exact
from optimizer.sources.libraries import described, need
from optimizer.sources.rows import Rows, as_array, by_name, exact_in_fp32, is_frame
from optimizer.sources.tidy import renamed, tidy
from registry.errors import InvalidValue

OPSETS: Mapping[str, int] = {"": 18, "ai.onnx.ml": 3}
"""Old enough for every ONNX Runtime in use on Lambda, new enough for every converter used here."""

LOCALE = "C.UTF-8"
"""That every Linux host has (glibc builds it in), unlike skl2onnx's default of en_US."""

_MIXED = "should have the same type"
"""What skl2onnx says of INT64 and FP32 columns that one transformer picks."""


def rows(model: Any, X: Any) -> Rows:  # noqa: N803
    """One matrix `X`, or one input per column where the estimator picks columns by name or they are strings."""
    if isinstance(X, Mapping) and len(X) == 1:  # a matrix under a name of its own
        return by_name(X, list(X))
    if _is_matrix(model, X):
        return {"X": as_array(_ordered(model, X) if is_frame(X) else X, "X")}
    columns = by_name(X, [str(name) for name in (X.columns if is_frame(X) else X)])
    return {name: array.reshape(-1, 1) for name, array in columns.items()}


def convert(model: Any, rows: Rows) -> bytes:
    """As ONNX: a classifier's `label` and `probabilities`, a regressor's `value`, other outputs as skl2onnx names them.

    Numbers become FP32 inputs; where the estimator picks columns, whole numbers stay such (INT64), for encoders look
    them up, unless they are picked together with fractions. Strings are BYTES. Raises NotConvertible for an estimator
    that is not fitted.
    """
    _check_fitted(model)
    _check_one_label(model)
    if not _picks_columns(model):
        return _converted(model, rows, whole=False)
    try:
        return _converted(model, rows, whole=True)
    except RuntimeError as fault:
        # skl2onnx joins no INT64 with FP32, where a frame's columns of both become fractions.
        if _MIXED not in str(fault):
            raise
        return _converted(model, rows, whole=False)


def _converted(model: Any, rows: Rows, *, whole: bool) -> bytes:
    """As ONNX, with INT64 inputs for all columns of whole numbers, or only for those that FP32 does not hold."""
    skl2onnx = need("skl2onnx", "'modelless[optimizer]'", model=described(model))
    parts = tuple(estimators(model))
    boosters.register(parts)
    with exact.voting(parts):
        proto = skl2onnx.convert_sklearn(
            model,
            name=type(model).__name__,  # of the graph; a random one would give other bytes each time
            initial_types=[(name, _type_of(array, whole)) for name, array in rows.items()],
            target_opset=dict(OPSETS),
            options=_options(model, parts),
            **exact.conversions(parts, single=_is_single(rows)),
        )
    renamed(proto, "variable", "value")
    return tidy(proto)


def estimators(model: Any) -> Iterator[Any]:
    """The estimator and all it is made of, as far as its parameters tell."""
    yield model
    for part in model.get_params(deep=True).values():
        if hasattr(part, "get_params") and not isinstance(part, type):
            yield part


def classes(model: Any) -> tuple[str, ...]:
    """The labels that a classifier gives, when they are strings; empty otherwise."""
    labels = getattr(model, "classes_", None)
    if not isinstance(labels, np.ndarray) or labels.ndim != 1 or labels.dtype.kind not in "UOT":
        return ()
    return tuple(map(str, labels))


def _is_matrix(model: Any, X: Any) -> bool:  # noqa: N803
    """Whether rows go in as one matrix."""
    if isinstance(X, Mapping) or not is_frame(X):
        return not isinstance(X, Mapping)
    numbers = all(as_array(X[name], str(name)).dtype != object for name in X.columns)
    return numbers and not _picks_columns(model)


def _picks_columns(model: Any) -> bool:
    return any(type(part).__name__ == "ColumnTransformer" for part in estimators(model))


def _ordered(model: Any, X: Any) -> Any:  # noqa: N803
    """A frame's columns as a matrix, in the order in which the estimator saw them when it was fitted."""
    columns = {_plain(name): as_array(X[name], str(name)) for name in X.columns}
    order = [_plain(name) for name in getattr(model, "feature_names_in_", X.columns)]
    if sorted(order) != sorted(columns):
        problem = f"has the columns {sorted(columns)}, and the estimator was fitted on {sorted(order)}"
        raise InvalidValue("X", problem, "give the columns that it was fitted on")
    return np.column_stack([columns[name] for name in order])


def _plain(name: object) -> str:
    return str(name).replace(" ", "_")  # as LightGBM keeps names


def _type_of(array: NDArray[Any], whole: bool) -> Any:
    types = need("skl2onnx.common.data_types", "'modelless[optimizer]'", model="rows")
    shape = [None, *array.shape[1:]]
    if array.dtype == object:
        return types.StringTensorType(shape)
    # A caller who sends 3.0 for 3 should not be refused, where it is all the same to the estimator.
    keeps = array.dtype.kind != "f" and (whole or not exact_in_fp32(array))
    return types.Int64TensorType(shape) if keeps else types.FloatTensorType(shape)


def _is_single(rows: Rows) -> bool:
    """Whether the numbers are in single precision, and so the estimator computes in it."""
    return all(array.dtype == np.float32 for array in rows.values() if array.dtype != object)


def _options(model: Any, parts: tuple[Any, ...]) -> dict[Any, dict[str, Any]]:
    texts = {type(part) for part in parts if type(part).__name__ in ("TfidfVectorizer", "CountVectorizer")}
    options: dict[Any, dict[str, Any]] = {kind: {"locale": LOCALE} for kind in texts}
    if need("sklearn.base", "scikit-learn", model=described(model)).is_classifier(model):
        steps = getattr(model, "steps", None)
        last = steps[-1][1] if isinstance(steps, list) else model
        # Without zipmap the probabilities are one tensor rather than a list of dictionaries. A converter that does not
        # know it must be given something else (here its default), or skl2onnx asks for it all the same.
        options.update({id(model): {"zipmap": False}} if _zips(last) else {id(last): {"nocl": False}})
    return options


def _zips(model: Any) -> bool:
    """Whether a classifier's converter knows the option zipmap: LinearSVC's, for one, has no probabilities to zip."""
    operators = need("skl2onnx._supported_operators", "'modelless[optimizer]'", model=described(model))
    registration = need("skl2onnx.common._registration", "'modelless[optimizer]'", model=described(model))
    try:
        converter = registration.get_converter(operators.get_model_alias(type(model)))
    except (KeyError, ValueError, RuntimeError):
        return True  # without a converter: the conversion itself says so
    return "zipmap" in (converter.get_allowed_options() if hasattr(converter, "get_allowed_options") else ())


def _check_one_label(model: Any) -> None:
    """Refuse classifiers that keep a list of classes for each of several labels: they give a list of arrays."""
    if isinstance(getattr(model, "classes_", None), list):
        problem = f"gives {len(model.classes_)} labels for each row, each with its own probabilities"
        fix = "fit one estimator for each column of y and register each as a task"
        raise NotConvertible(described(model), problem, fix)


def _check_fitted(model: Any) -> None:
    check: Callable[[Any], None] = need("sklearn.utils.validation", "scikit-learn", model="estimator").check_is_fitted
    unfitted = need("sklearn.exceptions", "scikit-learn", model="estimator").NotFittedError
    try:
        check(model)
    except unfitted:
        raise NotConvertible(described(model), "is not fitted", "call its fit before it is registered") from None
