"""A fitted scikit-learn estimator as ONNX bytes with a fixed signature; never trains."""

from __future__ import annotations

import warnings
from typing import Any

from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType

OPSETS = {"": 18, "ai.onnx.ml": 3}
"""Old enough for every ONNX Runtime in use on Lambda, new enough for every converter used here."""


def classifier(estimator: Any, features: int, classes: int, *, input_name: str) -> bytes:
    """As ONNX, FP32 `input_name` [-1, features] to INT64 `label` [-1] and FP32 `probabilities` [-1, classes]."""
    outputs = [("label", Int64TensorType([None])), ("probabilities", FloatTensorType([None, classes]))]
    # Without zipmap the probabilities are one tensor rather than a list of dictionaries.
    return _convert(estimator, features, input_name, outputs, {id(estimator): {"zipmap": False}})


def regressor(estimator: Any, features: int, *, input_name: str) -> bytes:
    """As ONNX, FP32 `input_name` [-1, features] to FP32 `value` [-1, 1]."""
    return _convert(estimator, features, input_name, [("value", FloatTensorType([None, 1]))], None)


def _convert(
    estimator: Any, features: int, input_name: str, outputs: list[tuple[str, Any]], options: dict[int, Any] | None
) -> bytes:
    with warnings.catch_warnings():
        # skl2onnx reads attributes of SVC that scikit-learn 1.9 deprecates; they are empty here and harmless.
        warnings.filterwarnings("ignore", message="Attribute `prob[AB]_` was deprecated", category=FutureWarning)
        model = convert_sklearn(
            estimator,
            name=type(estimator).__name__,  # of the graph; a random one would give other bytes each time
            initial_types=[(input_name, FloatTensorType([None, features]))],
            final_types=outputs,
            target_opset=OPSETS,
            options=options,
        )
    # skl2onnx lists operator sets in the order of a set, which differs from process to process.
    domains = sorted(model.opset_import, key=lambda opset: str(opset.domain))
    del model.opset_import[:]
    model.opset_import.extend(domains)
    return bytes(model.SerializeToString(deterministic=True))
