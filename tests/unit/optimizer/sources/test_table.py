"""A model's library is told by the name of its class's module, without importing that library."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from optimizer.errors import NotConvertible
from optimizer.sources import convert, source_of


def of_module(module: str) -> object:
    return type("Model", (), {"__module__": module})()


@pytest.mark.parametrize(
    ("module", "library"),
    [
        ("sklearn.svm._classes", "scikit-learn"),
        ("lightgbm.basic", "LightGBM"),
        ("lightgbm.sklearn", "LightGBM"),
        ("xgboost.core", "XGBoost"),
        ("torch.nn.modules.module", "PyTorch"),
        ("keras.src.models.sequential", "Keras"),
        ("tf_keras.src.engine.sequential", "Keras"),
        ("onnx.onnx_ml_pb2", "ONNX"),
    ],
)
def test_a_library_is_told_by_its_modules(module: str, library: str) -> None:
    assert source_of(of_module(module)).library == library


def test_a_class_of_ones_own_is_what_it_inherits_from() -> None:
    base = type("Module", (), {"__module__": "torch.nn.modules.module"})
    assert source_of(type("Mine", (base,), {})()).library == "PyTorch"


def test_anything_else_is_refused_by_its_type() -> None:
    with pytest.raises(NotConvertible, match=r"dict: is no model of Keras, .*; convert it to ONNX yourself"):
        source_of({"weights": 1})
    with pytest.raises(NotConvertible, match=r"sklearnex.svm.Model: is no model"):
        source_of(of_module("sklearnex.svm"))


def test_a_library_that_is_not_there_is_asked_for() -> None:
    model = of_module("keras.src.models.sequential")
    model.inputs = [type("Tensor", (), {"name": "image:0"})()]  # type: ignore[attr-defined]
    with pytest.raises(NotConvertible, match=r"converted by tf2onnx, .*; run `pip install tf2onnx`"):
        convert(model, np.ones((2, 3)))


def test_looking_imports_no_library() -> None:
    program = (
        "import sys, optimizer.sources\n"
        "print(sorted({'torch', 'lightgbm', 'xgboost', 'sklearn', 'skl2onnx', 'onnxmltools', 'keras', 'pandas'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
