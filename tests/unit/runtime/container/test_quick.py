"""The quick road reads and writes what the thorough one does, and hands on what it does not know."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.batcher import Outcome
from runtime.codecs.v2 import InferRequest, parse_request, render_response
from runtime.container import quick
from runtime.container.quick import parameters_of, parse, render
from runtime.errors import InvalidTensor, RuntimeFault


def body(**changes: Any) -> bytes:
    tensor = {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1, 2.5, -3, 4]}
    return orjson.dumps({"id": "7", "inputs": [tensor | changes]})


def told(parser: Any, data: bytes, length: int | None = None) -> Any:
    """What a parser makes of a body, comparable."""
    try:
        request = parser(data, length)
    except RuntimeFault as fault:
        return type(fault), str(fault)
    tensors = {name: (array.dtype, array.shape, array.tolist()) for name, array in request.inputs.items()}
    return request.id, dict(request.parameters), tensors, request.outputs, request.binary_output


VALUES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**63), 2**64 - 1),
    st.booleans(),
    st.none(),
    st.text(max_size=3),
)
DATA = st.one_of(
    st.lists(VALUES, max_size=6),
    st.lists(st.lists(VALUES, min_size=1, max_size=3), max_size=3),
    st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=6),
    st.lists(st.integers(-200, 300), min_size=1, max_size=6),
    VALUES,
)
SHAPES = st.one_of(
    st.lists(
        st.one_of(
            st.integers(-3, 6),
            st.floats(0, 4),
            st.booleans(),
            st.text(max_size=2),
            st.lists(st.integers(0, 3), max_size=2),
        ),
        max_size=3,
    ),
    st.none(),
    st.integers(-9, 9),
)
DATATYPES = st.sampled_from(["FP32", "FP64", "FP16", "INT64", "INT32", "UINT8", "INT8", "UINT64", "BOOL", "BYTES", "X"])


@given(DATATYPES, SHAPES, DATA)
def test_any_tensor_is_read_as_the_thorough_road_reads_it(datatype: str, shape: Any, data: Any) -> None:
    written = body(datatype=datatype, shape=shape, data=data)
    assert told(parse, written) == told(parse_request, written)


@pytest.mark.parametrize("word", ["x", [1], {}, None, True, 1.0])
def test_extents_that_are_no_whole_numbers_are_never_multiplied(monkeypatch: pytest.MonkeyPatch, word: Any) -> None:
    multiplied: list[Any] = []
    monkeypatch.setattr("math.prod", multiplied.append)

    status = told(quick.parse, body(shape=[8_000_000_000, word], data=[1]))

    assert (status[0], multiplied) == (InvalidTensor, [])


@pytest.mark.parametrize("datatype", ["FP32", "FP64", "INT64", "INT32", "UINT8", "INT8"])
@pytest.mark.parametrize("nested", [False, True])
def test_usual_tensors_are_read_without_the_thorough_road(
    monkeypatch: pytest.MonkeyPatch, datatype: str, nested: bool
) -> None:
    data = [[1, 2], [3, 4]] if nested else [1, 2, 3, 4]
    written = body(datatype=datatype, data=data)
    expected = told(parse_request, written)
    monkeypatch.delattr(quick, "parse_request")

    assert told(parse, written) == expected


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{",
        b'{"inputs": {}}',
        b'{"inputs": []}',
        b'{"inputs": [1]}',
        b'{"inputs": [{"name": "", "datatype": "FP32", "shape": [1], "data": [1]}]}',
        b'{"id": 3, "inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}',
        b'{"parameters": {"a": [1]}, "inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}',
        b'{"parameters": {"a": 1, "b": "x"}, "inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}',
        b'{"parameters": {"binary_data_output": true}, "inputs": [{"name": "x", "datatype": "FP32", "shape": [1], '
        b'"data": [1]}]}',
        b'{"parameters": {"shared_memory_region": "r"}, "inputs": [{"name": "x", "datatype": "FP32", "shape": [1], '
        b'"data": [1]}]}',
        b'{"outputs": [{"name": "y"}], "inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}',
        b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1e39]}]}',
        b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1e999]}]}',
        b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1], "parameters": {}}]}',
        b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}, '
        b'{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}',
        b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [[1, 2], [3]]}]}',
    ],
)
def test_any_request_is_read_as_the_thorough_road_reads_it(document: bytes) -> None:
    assert told(parse, document) == told(parse_request, document)


def test_binary_tensors_are_left_to_the_thorough_road() -> None:
    header = orjson.dumps(
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": 4}}]}
    )
    written = header + np.float32(1.5).tobytes()
    assert told(parse, written, len(header)) == told(parse_request, written, len(header))


OUTPUTS = [
    np.float32([[1.1, np.nan], [np.inf, -0.0]]),
    np.arange(6, dtype=np.int64).reshape(1, 2, 3),
    np.array([[True], [False]]),
    np.array([b"a", "é".encode()], object),
    np.float32(2.5).reshape(()),
    np.arange(8, dtype=np.float64).reshape(4, 2)[:, 0],
    np.zeros((0, 3), np.float32),
]


@pytest.mark.parametrize("output", OUTPUTS, ids=lambda output: f"{output.dtype}{list(output.shape)}")
@pytest.mark.parametrize("id_", [None, 'quoted "7"'])
def test_answers_are_written_as_the_thorough_road_writes_them(output: Any, id_: str | None) -> None:
    outcome = Outcome({"y": output, "z": output}, "v", 2, 5, 0.0015, 0.25, True)
    request = InferRequest(id_, {}, {}, None)

    written, header = render("m", outcome, request)
    thorough, _ = render_response("m", outcome.outputs, request, version="v", parameters=parameters_of(outcome))

    assert header is None
    assert orjson.loads(written) == orjson.loads(thorough)


def test_what_was_asked_for_in_binary_is_left_to_the_thorough_road() -> None:
    outcome = Outcome({"y": np.float32([1.5])}, "v", 1, 1, 0.0, 0.0, False)
    written, header = render("m", outcome, InferRequest(None, {}, {}, {"y": True}))
    assert header is not None
    assert written[header:] == np.float32([1.5]).tobytes()
