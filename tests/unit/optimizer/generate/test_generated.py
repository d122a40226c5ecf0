"""Some of a parent's rows stand for all of them."""

from __future__ import annotations

import numpy as np
import pytest

from optimizer.generate.generated import Parent
from registry.model import Task, TensorSpec

TASK = Task("t", (TensorSpec("x", "FP32", (-1, 1)),), (TensorSpec("y", "FP32", (-1, 1)),), "rmse_skill")


@pytest.mark.parametrize(("have", "most", "given"), [(9, 3, [0, 4, 8]), (5, 4, [0, 1, 2, 4]), (3, 3, [0, 1, 2])])
def test_some_rows_are_spread_over_all(have: int, most: int, given: list[int]) -> None:
    rows = {"x": np.arange(have), "other": np.arange(have) * 10}
    some = Parent("p", b"", TASK, rows).some_rows(most)
    assert {name: array.tolist() for name, array in some.items()} == {"x": given, "other": [10 * i for i in given]}


def test_fewer_are_taken_as_they_are() -> None:
    rows = {"x": np.arange(2)}
    assert Parent("p", b"", TASK, rows).some_rows(10)["x"].tolist() == [0, 1]
    assert Parent("p", b"", TASK).some_rows(10) == {}
