"""The protocol's client against its server's own codec, and answers that are none."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from runtime.codecs.binary import DTYPES
from runtime.codecs.v2 import parse_request, render_response
from runtime.codecs.v2_client import ALIGNMENT, parse_answer, render_request
from runtime.errors import InvalidTensor, RuntimeFault

NUMBERS = st.sampled_from([dtype for name, dtype in DTYPES.items() if name != "BYTES"])
ARRAYS = hnp.arrays(NUMBERS, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
TENSORS = st.dictionaries(st.text(min_size=1, max_size=4), ARRAYS, min_size=1, max_size=3)


def told(**changes: Any) -> bytes:
    """A good answer of one tensor of two bytes, as text, changed."""
    output = {"name": "y", "datatype": "INT8", "shape": [2], "parameters": {"binary_data_size": 2}}
    return json.dumps({"model_name": "m", "outputs": [output | changes]}).encode()


@given(TENSORS)
def test_a_server_reads_what_is_sent_and_is_read(tensors: dict[str, np.ndarray]) -> None:
    pieces, length = render_request(tensors, {"timeout": 5000})
    request = parse_request(b"".join(pieces), length)

    assert (request.parameters["timeout"], request.binary_output) == (5000, True)
    body, header = render_response("m", request.inputs, request, version="v", parameters={"run_ms": 1.5})
    answer = parse_answer(body, header)
    assert (answer.version, answer.parameters) == ("v", {"run_ms": 1.5})
    for name, array in tensors.items():
        np.testing.assert_array_equal(answer.outputs[name], array)
        assert answer.outputs[name].dtype == array.dtype


def test_strings_travel() -> None:
    words = np.array([[b"a", b""], ["ü".encode(), b"\0"]], dtype=object)
    pieces, length = render_request({"words": words}, {})
    assert parse_request(b"".join(pieces), length).inputs["words"].tolist() == words.tolist()


def test_the_tensors_are_viewed_where_they_are() -> None:
    x = np.arange(6, dtype=np.float32)
    pieces, length = render_request({"x": x}, {})
    assert length % ALIGNMENT == 0
    assert np.shares_memory(np.frombuffer(pieces[1], np.float32), x)


def test_what_cannot_travel_is_named() -> None:
    with pytest.raises(InvalidTensor, match="complex128"):
        render_request({"z": np.ones(1, np.complex128)}, {})


def test_an_answer_that_tells_little_is_an_answer() -> None:
    header = told()
    answer = parse_answer(header + b"\1\2", len(header))
    assert (answer.version, answer.parameters, answer.outputs["y"].tolist()) == ("", {}, [1, 2])


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[]",
        b"null",
        b'{"outputs": 3}',
        b'{"outputs": [{"name": "y"}]}',
        b'{"outputs": [3]}',
        told(shape="all"),
        told(datatype="COMPLEX"),
        told(parameters={}),
        told(parameters={"binary_data_size": 3}),
        told(parameters={"binary_data_size": -1}),
        told(parameters={"binary_data_size": "2"}),
        told(shape=[3]),
    ],
)
def test_what_is_no_answer_is_a_fault_and_nothing_else(header: bytes) -> None:
    with pytest.raises(RuntimeFault):
        parse_answer(header + b"\1\2", len(header))


@given(st.binary(max_size=40), st.none() | st.integers(0, 50))
def test_any_bytes_are_an_answer_or_a_fault(body: bytes, length: int | None) -> None:
    with pytest.raises(RuntimeFault):
        parse_answer(body, length)
