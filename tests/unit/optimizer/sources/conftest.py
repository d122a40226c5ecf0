"""Running ONNX beside the library that it came from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from optimizer.artifact import check
from optimizer.signature import infer
from optimizer.sources import Converted
from optimizer.sources.batch_axis import Probe

Run = Callable[[Converted], dict[str, NDArray[Any]]]


@pytest.fixture
def run() -> Run:
    """All rows of a converted model at once, as its signature takes them."""

    def answers(converted: Converted) -> dict[str, NDArray[Any]]:
        check(converted.onnx)
        signature = infer(converted.onnx, converted.rows)
        rows = len(next(iter(signature.rows.values())))
        return Probe(signature.model).run(signature.rows, rows)

    return answers


@pytest.fixture(scope="session")
def digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return X[:300], y[:300]


@pytest.fixture(scope="session")
def diabetes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from sklearn.datasets import load_diabetes

    X, y = load_diabetes(return_X_y=True)
    return X, y
