"""What travels between gateway and worker, and what must not get through."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from runtime.codecs import wire
from runtime.codecs.binary import DTYPES
from runtime.errors import InvalidBody, InvalidTensor, RuntimeFault
from runtime.tensor import SIZES

NUMBERS = st.sampled_from([dtype for name, dtype in DTYPES.items() if name != "BYTES"])
ARRAYS = NUMBERS.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0)))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


def document(**changes: Any) -> dict[str, Any]:
    """A good tensor of two FP32 elements, changed."""
    return {"name": "x", "datatype": "FP32", "shape": [2], "data": base64.b64encode(bytes(8)).decode()} | changes


def test_sizes_are_those_of_the_arrays() -> None:
    assert {name: dtype.itemsize for name, dtype in DTYPES.items() if name != "BYTES"} == {
        name: size for name, size in SIZES.items() if name != "BYTES"
    }


@given(st.dictionaries(st.text(max_size=5), ARRAYS, max_size=3))
def test_numbers_come_back_bit_for_bit(tensors: dict[str, Any]) -> None:
    back = wire.decode(json.loads(json.dumps(wire.encode(tensors))))

    assert list(back) == list(tensors)
    for name, array in tensors.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes()


@given(st.lists(st.binary(max_size=20), max_size=20))
def test_bytes_come_back(elements: list[bytes]) -> None:
    array = np.empty(len(elements), dtype=object)
    array[:] = elements

    back = wire.decode(wire.encode({"x": array}))["x"]

    assert back.dtype == object
    assert back.tolist() == elements


def test_strided_arrays_travel_in_row_major_order() -> None:
    array = np.arange(12).reshape(3, 4).T

    np.testing.assert_array_equal(wire.decode(wire.encode({"x": array}))["x"], array)


@pytest.mark.parametrize("array", [np.zeros(2, ">f4"), np.array(["text"]), np.zeros(2, complex)])
def test_arrays_without_a_datatype_cannot_travel(array: Any) -> None:
    with pytest.raises(InvalidTensor, match="cannot travel"):
        wire.encode({"x": array})


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"datatype": "FP8"}, "is unknown"),
        ({"datatype": ["FP32"]}, "is unknown"),
        ({"shape": [-1]}, "its shape holds -1"),
        ({"shape": [2.0]}, "its shape holds 2.0"),
        ({"shape": [True]}, "its shape holds True"),
        ({"shape": "2"}, "not a list"),
        ({"shape": [1] * 17}, "17 axes"),
        ({"shape": [2**62, 4]}, "its shape holds"),
        ({"shape": [2**20, 2**20]}, "too large"),
        ({"shape": [0, 2**62]}, "its shape holds"),
        ({"shape": [3]}, "it carries 8 bytes"),
        ({"shape": [1]}, "it carries 12 characters of base64"),
        ({"data": "!!!!"}, "not base64"),
        ({"data": "AAAAAAAAAAA"}, "not base64"),
        ({"datatype": "BYTES", "shape": [3]}, "it carries 8 bytes"),
    ],
)
def test_a_tensor_that_contradicts_itself_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidTensor, match=problem):
        wire.decode([document(**changes)])


@pytest.mark.parametrize(
    "data", [b"\x05\0\0\0abc\0", b"\0\0\0\0\0\0\0\0x", b"\0\0\0\0\xff\xff\xff\xff", b"\0\0\0\0\x01\0\0"]
)
def test_bytes_whose_lengths_lie_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidTensor):
        wire.decode([document(datatype="BYTES", data=base64.b64encode(data).decode())])


@pytest.mark.parametrize(
    "documents", [None, {}, "x", [None], [[]], [{"name": "x"}], [document(name=1)], [document(data=1)]]
)
def test_what_is_no_list_of_tensors_is_refused(documents: Any) -> None:
    with pytest.raises(InvalidBody):
        wire.decode(documents)


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(InvalidTensor, match="twice"):
        wire.decode([document(), document()])


@given(
    st.lists(
        st.fixed_dictionaries({}, optional=dict.fromkeys(("name", "datatype", "shape", "data"), JSON)) | JSON,
        max_size=3,
    )
)
def test_nothing_else_ever_escapes(documents: list[Any]) -> None:
    try:
        wire.decode(documents)
    except RuntimeFault:
        return
    assert all(isinstance(d, dict) for d in documents)
