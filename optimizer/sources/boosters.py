"""LightGBM's and XGBoost's models through onnxmltools: Boosters here, sklearn-style estimators as parts of skl2onnx."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from optimizer.sources.libraries import described, need
from optimizer.sources.rows import Rows, as_array, by_name, is_frame
from optimizer.sources.tidy import renamed, tidy

PACKAGE = "onnxmltools"

CLASSIFIER_OPTIONS = {
    "nocl": [True, False],
    "zipmap": [True, False, "columns"],
    "raw_scores": [True, False],
    "output_class_labels": [False, True],
}
"""What skl2onnx's own converters of classifiers can be asked for."""

ESTIMATORS = {
    "LGBMClassifier": ("lightgbm.operator_converters.LightGbm", "convert_lightgbm"),
    "LGBMRanker": ("lightgbm.operator_converters.LightGbm", "convert_lightgbm"),
    "LGBMRegressor": ("lightgbm.operator_converters.LightGbm", "convert_lightgbm"),
    "XGBClassifier": ("xgboost.operator_converters.XGBoost", "convert_xgboost"),
    "XGBRanker": ("xgboost.operator_converters.XGBoost", "convert_xgboost"),
    "XGBRegressor": ("xgboost.operator_converters.XGBoost", "convert_xgboost"),
    "XGBRFClassifier": ("xgboost.operator_converters.XGBoost", "convert_xgboost"),
    "XGBRFRegressor": ("xgboost.operator_converters.XGBoost", "convert_xgboost"),
}
"""Class of an estimator to onnxmltools' module and function."""


def rows(model: Any, X: Any) -> Rows:  # noqa: N803
    """One matrix `X`, of FP32 in the graph: a Booster takes nothing else."""
    if isinstance(X, Mapping) and len(X) == 1:
        return by_name(X, list(X))
    return {"X": as_array(X.to_numpy() if is_frame(X) else X, "X")}


def lightgbm(model: Any, rows: Rows) -> bytes:
    """A `lightgbm.Booster` as ONNX: `label` and `probabilities`, or `value`."""
    proto = _tools(model).convert_lightgbm(model, initial_types=_types(rows), zipmap=False)
    renamed(proto, "variable", "value")
    return tidy(proto)


def xgboost(model: Any, rows: Rows) -> bytes:
    """An `xgboost.Booster` as ONNX: `label` and `probabilities`, or `value`."""
    with nameless(model):
        proto = _tools(model).convert_xgboost(model, initial_types=_types(rows))
    renamed(proto, "variable", "value")
    return tidy(proto)


def register(parts: Iterable[Any]) -> None:
    """Make known to skl2onnx how those among the parts of an estimator that are LightGBM's or XGBoost's convert."""
    for part in parts:
        kind = type(part)
        if kind.__name__ in ESTIMATORS and kind.__module__.startswith(("lightgbm.", "xgboost.")):
            _register(part)


@contextmanager
def nameless(booster: Any) -> Iterator[None]:
    """Hide the names of an XGBoost model's features: onnxmltools knows them by their numbers only."""
    names, booster.feature_names = booster.feature_names, None
    try:
        yield
    finally:
        booster.feature_names = names


def _register(estimator: Any) -> None:
    kind = type(estimator)
    module, function = ESTIMATORS[kind.__name__]
    usual = getattr(need(f"onnxmltools.convert.{module}", PACKAGE, model=described(estimator)), function)
    shapes = need("skl2onnx.common.shape_calculator", "'modelless[optimizer]'", model=described(estimator))
    classifies = kind.__name__.endswith("Classifier")
    calculator = f"calculate_linear_{'classifier' if classifies else 'regressor'}_output_shapes"

    def convert(scope: Any, operator: Any, container: Any) -> None:
        if kind.__module__.startswith("lightgbm."):
            usual(scope, operator, container)
            return
        with nameless(operator.raw_operator.get_booster()):
            usual(scope, operator, container)

    need("skl2onnx", "'modelless[optimizer]'", model=described(estimator)).update_registered_converter(
        kind,
        f"Modelless{kind.__name__}",
        getattr(shapes, calculator),
        convert,
        options=CLASSIFIER_OPTIONS if classifies else {"split": None},
        overwrite=True,
    )


def _tools(model: Any) -> Any:
    return need("onnxmltools", PACKAGE, model=described(model))


def _types(rows: Rows) -> list[tuple[str, Any]]:
    types = need("onnxmltools.convert.common.data_types", PACKAGE, model="rows")
    return [(name, types.FloatTensorType([None, *array.shape[1:]])) for name, array in rows.items()]
