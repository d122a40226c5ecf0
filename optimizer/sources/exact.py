"""Conversions of ours where skl2onnx's would change answers or fail; keeps to what the estimator itself computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from onnx import TensorProto

from optimizer.sources.libraries import need

Conversion = Callable[[Any, Any, Any], None]
"""skl2onnx's form: scope, operator, container."""

TREES = ("sklearn.tree.", "sklearn.ensemble.", "lightgbm.", "xgboost.")
"""Modules of the estimators that compare with thresholds, where the last bit of a number can decide."""


def conversions(parts: Sequence[Any], *, single: bool) -> dict[str, dict[type, Any]]:
    """Arguments for `skl2onnx.convert_sklearn`, by which these parts of an estimator are converted as said below.

    `single` says whether the estimator is given numbers in single precision, and so computes in it.
    """
    functions: dict[type, Conversion] = {}
    calculators: dict[type, Any] = {}
    trees = any(type(part).__module__.startswith(TREES) for part in parts)
    for part in parts:
        kind = type(part)
        if kind.__name__.startswith("HistGradientBoosting"):
            functions[kind], calculators[kind] = _whole(_known(f"Sklearn{kind.__name__}"))
        elif kind.__name__ == "StandardScaler" and kind.__module__.startswith("sklearn.") and trees:
            conversion, calculators[kind] = _known("SklearnScaler")
            functions[kind] = _scaling(conversion, np.dtype(np.float32 if single else np.float64))
    return {"custom_conversion_functions": functions, "custom_shape_calculators": calculators}


@contextmanager
def voting(parts: Sequence[Any]) -> Iterator[None]:
    """Let VotingClassifiers among the parts be converted while the block runs.

    skl2onnx refuses those that flatten what `transform` gives, which is the default and says nothing of `predict`.
    """
    flat = [part for part in parts if getattr(part, "flatten_transform", False)]
    for part in flat:
        part.flatten_transform = False
    try:
        yield
    finally:
        for part in flat:
            part.flatten_transform = True


def _known(alias: str) -> tuple[Conversion, Any]:
    registration = need("skl2onnx.common._registration", "'modelless[optimizer]'", model="estimator")
    return registration.get_converter(alias), registration.get_shape_calculator(alias)


def _scaling(usual: Conversion, dtype: np.dtype[Any]) -> Conversion:
    """(x − mean) / scale computed in `dtype` and rounded to FP32 afterwards, as scikit-learn computes it.

    skl2onnx multiplies by 1 / scale in FP32. That is off by a last bit for most numbers, and XGBoost's thresholds are
    numbers of its training data: one digit in a hundred was then taken for another.
    """

    def convert(scope: Any, operator: Any, container: Any) -> None:
        scaler, inputs = operator.raw_operator, operator.inputs
        if len(inputs) != 1 or not (scaler.with_mean or scaler.with_std):
            usual(scope, operator, container)
            return
        proto = {"f": TensorProto.FLOAT, "d": TensorProto.DOUBLE}[dtype.char]
        last = _node(scope, container, "Cast", [inputs[0].full_name], to=proto)
        steps = (("Sub", scaler.mean_, scaler.with_mean), ("Div", scaler.scale_, scaler.with_std))
        for kind, numbers, wanted in steps:
            if wanted:
                name = scope.get_unique_variable_name(kind.lower())
                container.add_initializer(name, proto, [len(numbers)], numbers.astype(dtype))
                last = _node(scope, container, kind, [last, name])
        _node(scope, container, "Cast", [last], operator.outputs[0].full_name, to=TensorProto.FLOAT)

    return convert


def _node(scope: Any, container: Any, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
    output = output or scope.get_unique_variable_name(kind.lower())
    name = scope.get_unique_operator_name(kind)
    container.add_node(kind, inputs, output, op_version=13, name=name, **attributes)
    return output


def _whole(known: tuple[Conversion, Any]) -> tuple[Conversion, Any]:
    """The same conversion with truths in attributes written as whole numbers: onnx 1.23 takes no others."""
    usual, calculator = known
    return lambda scope, operator, container: usual(scope, operator, _Whole(container)), calculator


class _Whole:
    """A container of skl2onnx that takes truths in attributes for whole numbers."""

    def __init__(self, container: Any) -> None:
        self._container = container

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def add_node(self, *arguments: Any, **attributes: Any) -> Any:
        """As the container's, with whole numbers."""
        return self._container.add_node(*arguments, **{name: _ints(value) for name, value in attributes.items()})


def _ints(value: Any) -> Any:
    truths = isinstance(value, list | tuple) and any(isinstance(item, bool | np.bool_) for item in value)
    return [int(item) for item in value] if truths else value
