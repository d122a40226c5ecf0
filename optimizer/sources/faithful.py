"""Whether a converted model answers what the model itself does; a converter that is wrong is worse than none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimizer.errors import NotConvertible
from optimizer.signature import Signature
from optimizer.sources.batch_axis import Probe
from optimizer.sources.libraries import described
from registry.errors import InvalidValue

ROWS = 256
"""Enough for a wrong class or a wrong sign to show, and few enough to take no time."""

AGREE = 0.97
"""Of the rows at least: rounding to FP32 turns a label where two classes nearly tie or a number is a threshold."""

CLOSE = 1e-2
"""Of the values' spread: what FP32 loses to double precision, with room to spare."""


Answer = Callable[[Any], Any]
"""What a model itself says of some rows."""


def check_faithful(model: Any, X: Any, signature: Signature) -> None:  # noqa: N803
    """Raise NotConvertible where the signature's model answers otherwise than the estimator itself.

    Its `predict` is held against labels or values, and its `predict_proba` against probabilities. Raises InvalidValue
    where the estimator refuses the rows. A model without them, or rows that come as arrays by name, are left to be
    judged by the right answers.
    """
    if not hasattr(X, "__getitem__") or isinstance(X, dict | tuple | list):
        return
    outputs = {spec.name for spec in signature.outputs}
    for name, answer in _answers(model).items():
        if name in outputs:
            _compare(model, X, signature, name, answer)


def _answers(model: Any) -> dict[str, Answer]:
    """What the model says itself, by the name of the output that should say the same."""
    if type(model).__name__ == "Booster":
        # XGBoost's takes no rows as people hold them. LightGBM's gives probabilities, or values.
        own = model.predict if type(model).__module__.startswith("lightgbm") else None
        return {} if own is None else {"value": own, "probabilities": own}
    methods = {"label": "predict", "value": "predict", "probabilities": "predict_proba"}
    # hasattr, for some estimators have a method only where its settings allow it.
    return {name: getattr(model, method) for name, method in methods.items() if hasattr(model, method)}


def _compare(model: Any, X: Any, signature: Signature, name: str, answer: Answer) -> None:  # noqa: N803
    right = np.asarray(_predicted(answer, X[:ROWS]))
    if name == "probabilities" and right.ndim == 1:
        right = np.stack([1 - right, right], axis=1)
    given = Probe(signature.model).run(signature.rows, len(right))[name]
    share = _agreement(given.reshape(right.shape) if given.size == right.size else given, right)
    if share < AGREE:
        problem = f"its converter changes the {_PLURAL[name]} of {1 - share:.0%} of the rows"
        raise NotConvertible(described(model), problem, "convert it to ONNX yourself, and give the .onnx file")


_PLURAL = {"label": "answers", "value": "answers", "probabilities": "probabilities"}


def _predicted(predict: Answer, X: Any) -> Any:  # noqa: N803
    try:
        return predict(X)
    except Exception as fault:  # estimators raise whatever they like
        problem = f"is nothing that the model itself can predict: {' '.join(str(fault).split())[:500]}"
        raise InvalidValue("X", problem, "give rows like those that it was trained on") from fault


def _agreement(given: NDArray[Any], right: NDArray[Any]) -> float:
    if given.shape != right.shape:
        return 0.0
    if right.dtype.kind != "f":
        return float(np.mean(given == right))
    off = np.abs(given - right) > CLOSE * max(float(np.ptp(right)), 1e-9)
    return 1 - float(np.mean(off.reshape(len(off), -1).any(axis=1)))
