"""Nested lists to arrays: exact, positioned refusals, no numpy guesses."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from runtime.codecs.binary import DTYPES
from runtime.codecs.nested import from_nested, to_nested
from runtime.codecs.text import dumps, loads
from runtime.errors import InvalidTensor


@pytest.mark.parametrize(
    ("datatype", "data", "expected"),
    [
        ("FP32", [[1, 2.5], [3, -4]], np.float32([[1, 2.5], [3, -4]])),
        ("INT64", [1, 2.0, -(2**63)], np.int64([1, 2, -(2**63)])),
        ("UINT64", [2**64 - 1], np.uint64([2**64 - 1])),
        ("UINT8", [0, 255], np.uint8([0, 255])),
        ("BOOL", [[True], [False]], np.array([[True], [False]])),
        ("BYTES", ["", "é"], np.array([b"", "é".encode()], dtype=object)),
        ("FP16", [0.5], np.float16([0.5])),
        ("FP32", [], np.float32([])),
    ],
)
def test_what_fits_is_taken(datatype: str, data: Any, expected: Any) -> None:
    array = from_nested("x", datatype, data)

    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(
    ("datatype", "data", "problem"),
    [
        ("FP32", [[1, 2], [3]], "its lists are ragged at [1]"),
        ("FP32", [[1, 2], [[3], [4]]], "its lists are ragged at [1, 0]"),
        ("FP32", [[[1, 2], [3, 4]], [[1, 2], [3]]], "its lists are ragged at [1, 1]"),
        ("FP32", [1, [2]], "its lists are ragged at [1]"),
        ("FP32", [[1], 2], "its lists are ragged at [1]"),
        ("FP32", [[1, None]], "element [0, 1] is null"),
        ("FP32", [1, True], "element [1] is a boolean"),
        ("FP32", [1, "2"], "element [1] is a string"),
        ("FP32", [{}], "element [0] is an object"),
        ("FP32", 3, "it is 3"),
        ("FP32", {}, "it is an object"),
        ("FP32", [1e39], "element [0] is out of range"),
        ("FP16", [0, 1e6], "element [1] is out of range"),
        ("FP64", [10**400], "a number is out of range"),
        ("INT8", [0, 1.5], "element [1] is 1.5"),
        ("UINT8", [300], "element [0] is 300"),
        ("UINT8", [-1], "element [0] is -1"),
        ("INT64", [2**63], "a number is out of range"),
        ("INT64", [9.3e18], "element [0] is 9.3e+18"),
        ("UINT64", [2**64], "a number is out of range"),
        ("BOOL", [True, 1], "element [1] is 1"),
        ("BYTES", ["a", 1], "element [1] is 1"),
        ("BYTES", ["\ud800"], "it holds a lone surrogate"),
    ],
)
def test_what_does_not_is_refused_with_its_position(datatype: str, data: Any, problem: str) -> None:
    with pytest.raises(InvalidTensor) as refused:
        from_nested("x", datatype, data)

    assert (refused.value.tensor, refused.value.problem) == ("x", problem)


def test_one_long_string_among_many_is_no_bomb() -> None:
    array = from_nested("x", "BYTES", ["", *("y" * 1_000_000,), *[""] * 100_000])

    assert array.shape == (100_002,)
    with pytest.raises(InvalidTensor, match="a string"):
        from_nested("x", "FP32", ["", "y" * 1_000_000, *[""] * 100_000])


def test_elements_and_axes_are_capped() -> None:
    deep: Any = [1.0]
    for _ in range(40):
        deep = [deep]

    with pytest.raises(InvalidTensor, match="41 axes"):
        from_nested("x", "FP32", deep)
    with pytest.raises(InvalidTensor, match="at most 10"):
        from_nested("x", "FP32", [0] * 11, max_elements=10)


@given(
    st.sampled_from(sorted(set(DTYPES) - {"BYTES"})).flatmap(
        lambda datatype: st.tuples(
            st.just(datatype),
            hnp.arrays(
                DTYPES[datatype],
                hnp.array_shapes(max_dims=4, max_side=4),
                elements={"allow_nan": False, "allow_infinity": False} if datatype.startswith("FP") else None,
            ),
        )
    )
)
def test_json_brings_numbers_back_exactly(case: tuple[str, Any]) -> None:
    datatype, array = case

    there = dumps({"x": to_nested("x", array)})

    back = from_nested("x", datatype, loads(there)["x"])
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2), min_size=1))
def test_json_brings_strings_back(texts: list[list[str]]) -> None:
    array = from_nested("x", "BYTES", texts)

    assert loads(dumps(to_nested("x", array))) == texts


def test_bytes_that_are_no_text_have_no_json() -> None:
    with pytest.raises(InvalidTensor, match="not UTF-8"):
        to_nested("x", np.array([b"\xff"], dtype=object))


def test_short_digits_and_null_for_what_json_lacks() -> None:
    assert dumps(to_nested("x", np.float32([0.1, np.nan]))) == b"[0.1,null]"
    assert json.loads(dumps(to_nested("x", np.arange(6).reshape(2, 3).T))) == [[0, 3], [1, 4], [2, 5]]
