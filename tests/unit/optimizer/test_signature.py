"""A variant that answers otherwise than its task promises is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from optimizer.signature import check_outputs
from registry.errors import InvalidValue
from registry.model import Task, TensorSpec

TASK = Task(
    "t",
    (TensorSpec("x", "FP32", (-1, 2)),),
    (TensorSpec("label", "INT64", (-1,)), TensorSpec("scores", "FP32", (-1, 3))),
    "accuracy",
)
LABEL = np.zeros(2, np.int64)
SCORES = np.zeros((2, 3), np.float32)


def test_the_signature_itself_passes() -> None:
    check_outputs(TASK, {"label": LABEL, "scores": SCORES}, 2)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"label": LABEL}, "gives the outputs ['label']; export it with ['label', 'scores']"),
        ({"label": LABEL, "scores": SCORES, "extra": LABEL}, "'extra'"),
        ({"label": LABEL.astype(np.int32), "scores": SCORES}, "model output label: is int32 [2] for 2 rows"),
        ({"label": LABEL[:1], "scores": SCORES}, "model output label: is int64 [1] for 2 rows"),
        ({"label": LABEL, "scores": SCORES[:, :2]}, "export it as FP32 [-1, 3]"),
        ({"label": LABEL.reshape(2, 1), "scores": SCORES}, "is int64 [2, 1]"),
    ],
)
def test_anything_else_is_refused(outputs: dict[str, NDArray[Any]], message: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        check_outputs(TASK, outputs, 2)
    assert message in str(caught.value)
