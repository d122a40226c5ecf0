"""A task's signature against what callers send."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from registry.model import TensorSpec
from runtime.codecs.tensors import check_inputs
from runtime.errors import InvalidTensor

PIXELS = TensorSpec("pixels", "FP32", (-1, 4))
TEXT = TensorSpec("text", "BYTES", (-1, 1))
TABLE = TensorSpec("table", "INT64", (3,))


def text(*elements: Any) -> Any:
    """A column of BYTES."""
    column = np.empty((len(elements), 1), dtype=object)
    column[:, 0] = elements
    return column


def test_the_rows_of_good_inputs() -> None:
    inputs = {"pixels": np.zeros((2, 4), np.float32), "text": text(b"a", "é".encode()), "table": np.arange(3)}

    assert check_inputs((PIXELS, TEXT, TABLE), inputs) == 2


@pytest.mark.parametrize(
    ("array", "problem", "expected"),
    [
        (np.zeros((2, 4)), "its dtype is float64", "FP32 [-1, 4]"),
        (np.zeros((2, 4), ">f4"), "its dtype is >f4", "FP32 [-1, 4]"),
        (np.zeros(4, np.float32), "its rank is 1", "rank 2: FP32 [-1, 4]"),
        (np.zeros((2, 5), np.float32), "its shape is [2, 5]", "FP32 [-1, 4], no extent 0"),
        (np.zeros((0, 4), np.float32), "its shape is [0, 4]", "FP32 [-1, 4], no extent 0"),
        (np.float32([[0, 1, np.nan, 2]]), "element [0, 2] is NaN or infinite", "finite numbers"),
        (np.float32([[0, 1, 2, 3], [0, -np.inf, 2, 3]]), "element [1, 1] is NaN or infinite", "finite numbers"),
        (np.zeros((6, 4), np.float32), "it has 24 elements", "at most 20"),
    ],
)
def test_what_is_not_as_the_signature_says(array: Any, problem: str, expected: str) -> None:
    with pytest.raises(InvalidTensor) as refused:
        check_inputs((PIXELS,), {"pixels": array}, max_elements=20)

    assert (refused.value.tensor, refused.value.problem, refused.value.expected) == ("pixels", problem, expected)


def test_names_must_be_the_signatures() -> None:
    with pytest.raises(InvalidTensor, match=r"image: the task has no such input; expected one of \['pixels'\]"):
        check_inputs((PIXELS,), {"image": np.zeros((1, 4), np.float32)})
    with pytest.raises(InvalidTensor, match="text: it is missing"):
        check_inputs((PIXELS, TEXT), {"pixels": np.zeros((1, 4), np.float32)})


def test_nan_passes_where_the_signature_lets_it() -> None:
    spec = TensorSpec("x", "FP64", (-1,), finite=False)

    assert check_inputs((spec,), {"x": np.array([np.nan, np.inf])}) == 2


@pytest.mark.parametrize(
    ("element", "problem"), [(b"\xff\xfe", "element [1, 0] is not UTF-8"), ("str", "element [1, 0] is no bytes")]
)
def test_strings_are_utf_8(element: Any, problem: str) -> None:
    with pytest.raises(InvalidTensor) as refused:
        check_inputs((TEXT,), {"text": text(b"fine", element)})

    assert refused.value.problem == problem


def test_inputs_agree_on_their_rows() -> None:
    with pytest.raises(InvalidTensor, match="text: it has 3 rows; expected 2 rows, as pixels has"):
        check_inputs((PIXELS, TEXT), {"pixels": np.zeros((2, 4), np.float32), "text": text(b"", b"", b"")})
