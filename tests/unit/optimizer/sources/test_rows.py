"""Rows become arrays by name; what is no number, truth or string is refused."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from scipy.sparse import csr_matrix

from optimizer.sources.rows import as_array, by_name, exact_in_fp32
from registry.errors import InvalidValue


def test_one_array_is_the_only_input() -> None:
    assert by_name([[1.0, 2.0]], ["x"])["x"].shape == (1, 2)


def test_a_frame_gives_its_columns_by_name() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    rows = by_name(frame, ["b", "a"])
    assert rows["a"].tolist() == [1, 2]
    assert rows["b"].tolist() == [b"x", b"y"]


@pytest.mark.parametrize("texts", [["a", "é"], np.array(["a", "é"]), np.array(["a", "é"], dtype=object)])
def test_strings_are_bytes_of_utf8(texts: Any) -> None:
    assert as_array(texts, "x").tolist() == [b"a", "é".encode()]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (np.array(["a", 3], dtype=object), "row 1 holds int 3, no string"),
        (np.array(["a", None], dtype=object), "row 1 is missing"),
        (pd.Series(["a", None], dtype=object), "row 1 is missing"),
        (pd.Series(["a", None], dtype="string"), "row 1 is missing, .*; fill it, with '' say"),
        (np.array(["a", np.nan], dtype=object), "row 1 is missing"),
        (np.array(["2026-01-01"], dtype="datetime64[D]"), r"dtype datetime64\[D\]"),
        (np.array([1j]), "dtype complex128"),
        (None, "x: is None, and no rows"),
        (3.5, "x: is one float, and no rows; give an array"),
        (
            csr_matrix(np.eye(3)),
            r"x: is a sparse matrix \(csr_matrix\), .*\(\.toarray\(\)\), or put what makes it sparse",
        ),
        (xgboost.DMatrix(np.eye(3)), "x: is a DMatrix, which only xgboost reads; give the array or frame"),
        (lightgbm.Dataset(np.eye(3)), "x: is a Dataset, which only lightgbm reads"),
    ],
)
def test_anything_else_is_refused(values: Any, problem: str) -> None:
    with pytest.raises(InvalidValue, match=problem):
        as_array(values, "x")


def test_fp32_holds_whole_numbers_of_24_bits() -> None:
    assert exact_in_fp32(np.array([1 << 24, -5]))
    assert exact_in_fp32(np.array([], dtype=np.int64))
    assert not exact_in_fp32(np.array([(1 << 24) + 1]))
    assert not exact_in_fp32(np.array([-(1 << 62)]))
