"""A classifier's labels are found where converters write them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnx
import pytest
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from optimizer.generate.classes import class_lists

X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
CLASSES = np.arange(60) % 3


@pytest.mark.parametrize(
    "kind",
    [RandomForestClassifier(4), LogisticRegression(), MLPClassifier((4,), max_iter=2)],
    ids=lambda k: type(k).__name__,
)
@pytest.mark.parametrize(
    ("labels", "held"), [([0, 1, 5], [0, 1, 5]), (["a", "b", "z"], [b"a", b"b", b"z"])], ids=["numbers", "texts"]
)
def test_labels_by_class(kind: Any, labels: list[Any], held: list[Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = to_onnx(kind.fit(X, np.array(labels)[CLASSES]), X[:1], options={"zipmap": False})
    found = class_lists(onnx.load_from_string(model.SerializeToString()).graph)
    assert held in [each.tolist() for each in found]
