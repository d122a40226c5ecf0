"""Open Inference Protocol v2: what real clients send and read, and what must not get through."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from registry.model import TensorSpec
from runtime.codecs.binary import DTYPES
from runtime.codecs.v2 import InferRequest, check_outputs, parse_request, render_response
from runtime.errors import InvalidBody, InvalidTensor, RuntimeFault

NUMBERS = st.sampled_from([dtype for name, dtype in DTYPES.items() if name != "BYTES"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


def body(**changes: Any) -> dict[str, Any]:
    """A good request of one 1 × 2 tensor, changed."""
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.5, 2]}]} | changes


def parse(document: Any, tail: bytes | None = None) -> InferRequest:
    """The request of a document, with binary data after it."""
    text = json.dumps(document).encode()
    return parse_request(text) if tail is None else parse_request(text + tail, len(text))


def tensor(**changes: Any) -> dict[str, Any]:
    """A request of that one tensor, changed; a change to None removes the key."""
    changed = body()["inputs"][0] | changes
    return {"inputs": [{key: value for key, value in changed.items() if value is not None}]}


def test_a_request_in_json() -> None:
    request = parse(body(id="42", parameters={"latency_ms": 80, "strict": True}, outputs=[{"name": "y"}]))

    assert (request.id, request.parameters) == ("42", {"latency_ms": 80, "strict": True})
    assert (request.outputs, request.binary_output) == ({"y": False}, False)
    np.testing.assert_array_equal(request.inputs["x"], np.float32([[1.5, 2]]))


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]]])
def test_data_is_flat_or_nested(data: Any) -> None:
    x = parse(tensor(datatype="INT32", shape=[2, 2], data=data)).inputs["x"]

    np.testing.assert_array_equal(x, np.int32([[1, 2], [3, 4]]))


def test_binary_data_is_viewed_not_copied() -> None:
    x = np.arange(6, dtype=np.float64).reshape(2, 3)
    header = json.dumps(tensor(datatype="FP64", shape=[2, 3], data=None, parameters={"binary_data_size": 48})).encode()
    whole = header.ljust(-(-len(header) // 8) * 8) + x.tobytes()

    request = parse_request(whole, len(whole) - 48)

    np.testing.assert_array_equal(request.inputs["x"], x)
    assert not request.inputs["x"].flags.owndata


def test_binary_tensors_follow_one_another_beside_json_ones() -> None:
    document = {
        "inputs": [
            {"name": "a", "datatype": "UINT8", "shape": [3], "parameters": {"binary_data_size": 3}},
            {"name": "b", "datatype": "BOOL", "shape": [1], "data": [True]},
            {"name": "c", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 9}},
            {"name": "d", "datatype": "FP16", "shape": [1], "parameters": {"binary_data_size": 2}},
        ]
    }
    strings = struct.pack("<I", 1) + b"\xff" + struct.pack("<I", 0)

    inputs = parse(document, b"\x01\x02\x03" + strings + np.float16([0.5]).tobytes()).inputs

    assert inputs["a"].tolist() == [1, 2, 3]
    assert inputs["b"].tolist() == [True]
    assert inputs["c"].tolist() == [b"\xff", b""]
    assert inputs["d"].tolist() == [0.5]
    assert inputs["d"].flags.aligned


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "the body must be an object"),
        ({}, "inputs must be a list"),
        ({"inputs": []}, "at least one tensor"),
        ({"inputs": [3]}, "an input must be an object"),
        ({"inputs": [{}]}, "an input needs a name"),
        (body(id=42), "id must be a string"),
        (body(parameters=[1]), "parameters of the request must be an object"),
        (body(parameters=False), "parameters of the request must be an object"),
        (body(outputs=[{"name": "y", "parameters": ""}]), "parameters of output y must be an object"),
        (body(parameters={"slo": {"latency_ms": 1}}), "must be a string, number or boolean"),
        (body(parameters={"binary_data_output": 1}), "must be a boolean"),
        (body(outputs={"y": 1}), "outputs must be a list"),
        (body(outputs=0), "outputs must be a list"),
        (body(outputs=[{"name": "y", "parameters": {"classification": 3}}]), "is not served here"),
        (tensor(parameters={"shared_memory_region": "r"}), "is not served here"),
    ],
)
def test_what_is_not_the_protocol(document: Any, message: str) -> None:
    with pytest.raises(InvalidBody, match=message):
        parse(document)


def test_what_is_null_is_absent() -> None:
    request = parse(body(id=None, parameters=None, outputs=None))

    assert (request.id, request.parameters, request.outputs) == (None, {}, None)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 100_000, b'{"inputs": NaN}'])
def test_what_is_not_json(text: bytes) -> None:
    with pytest.raises(InvalidBody, match="not JSON"):
        parse_request(text)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"datatype": "BF16"}, "is unknown"),
        ({"datatype": None}, "None is unknown"),
        ({"shape": None}, "its shape is not a list"),
        ({"shape": [-1, 2]}, "its shape holds -1"),
        ({"shape": [2**62, 4]}, "its shape holds"),
        ({"shape": [2**13, 2**13]}, "too large"),
        ({"datatype": "BYTES", "shape": [2**20 + 1]}, "its shape holds 1048577; expected integers from 0 to 1048576"),
        ({"datatype": "BYTES", "shape": [2**10 + 1, 2**10]}, "too large; expected at most 1048576 elements"),
        ({"datatype": "BYTES", "data": [""] * (2**20 + 1)}, "1048577 elements in 1 axes; expected at most 1048576"),
        ({"shape": [3]}, r"its data has shape \[2\]"),
        ({"data": [[[1.5, 2]]]}, r"its data has shape \[1, 1, 2\]"),
        ({"data": None}, "it has no data"),
        ({"data": ["1", "2"]}, r"element \[0\] is a string"),
        ({"datatype": "FP16"}, "FP16 has no JSON form"),
        ({"parameters": {"binary_data_size": 8}}, "both data and binary_data_size"),
        ({"data": None, "parameters": {"binary_data_size": -8}}, "binary_data_size is -8"),
        ({"data": None, "parameters": {"binary_data_size": True}}, "binary_data_size is True"),
    ],
)
def test_a_tensor_that_contradicts_itself(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidTensor, match=problem):
        parse(tensor(**changes))


@pytest.mark.parametrize(
    ("size", "tail", "problem"),
    [
        (8, b"1234567", "binary_data_size is 8"),
        (2**63, b"12345678", "binary_data_size is 9223372036854775808"),
        (7, b"1234567", "it carries 7 bytes"),
        (8, b"123456789", "1 bytes follow"),
        (0, b"", "it carries 0 bytes"),
    ],
)
def test_binary_sizes_that_lie(size: int, tail: bytes, problem: str) -> None:
    with pytest.raises((InvalidTensor, InvalidBody), match=problem):
        parse(tensor(data=None, parameters={"binary_data_size": size}), tail)


@pytest.mark.parametrize("length", [-1, 10_000])
def test_a_header_length_that_lies(length: int) -> None:
    with pytest.raises(InvalidBody, match="Inference-Header-Content-Length"):
        parse_request(b"{}", length)


def test_binary_data_without_the_header_is_refused() -> None:
    with pytest.raises(InvalidTensor, match="binary_data_size is 8"):
        parse(tensor(data=None, parameters={"binary_data_size": 8}))


def test_a_tensor_given_twice_is_refused() -> None:
    with pytest.raises(InvalidTensor, match="twice"):
        parse({"inputs": body()["inputs"] * 2})


def test_a_json_response_echoes_the_id_and_carries_parameters() -> None:
    request = parse(body(id="7"))
    y, label = np.float32([[0.1, np.nan]]), np.array([b"cat"], dtype=object)

    text, header = render_response(
        "digits", {"y": y, "label": label}, request, version="3", parameters={"variant": "mlp", "cold_start": False}
    )

    assert header is None
    assert json.loads(text) == {
        "model_name": "digits",
        "model_version": "3",
        "id": "7",
        "parameters": {"variant": "mlp", "cold_start": False},
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [0.1, None]},
            {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["cat"]},
        ],
    }


def test_only_what_was_asked_for_is_sent_in_the_form_it_was_asked_in() -> None:
    request = parse(body(outputs=[{"name": "b", "parameters": {"binary_data": True}}, {"name": "a"}]))

    whole, length = render_response("m", {"a": np.int8([1]), "b": np.int16([2, 3]), "c": np.int8([4])}, request)

    assert length is not None
    assert [output["name"] for output in json.loads(whole[:length])["outputs"]] == ["b", "a"]
    assert json.loads(whole[:length])["outputs"][0]["parameters"] == {"binary_data_size": 4}
    assert whole[length:] == np.int16([2, 3]).tobytes()


@pytest.mark.parametrize("array", [np.float16([1]), np.array([b"\xff"], dtype=object)])
def test_what_json_cannot_carry_must_be_asked_for_in_binary(array: Any) -> None:
    with pytest.raises(InvalidTensor):
        render_response("m", {"y": array}, parse(body()))

    whole, length = render_response("m", {"y": array}, parse(body(parameters={"binary_data_output": True})))
    assert length is not None
    assert len(whole) > length


def test_outputs_that_the_task_has_not() -> None:
    request = parse(body(outputs=[{"name": "z"}]))

    with pytest.raises(InvalidTensor, match="no such output"):
        check_outputs((TensorSpec("y", "FP32", (-1,)),), request)
    with pytest.raises(InvalidTensor, match="no such output"):
        render_response("m", {"y": np.int8([1])}, request)


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=4), NUMBERS.flatmap(lambda d: hnp.arrays(d, (2, 3))), min_size=1, max_size=3
    )
)
def test_a_binary_answer_is_a_binary_request_again(tensors: dict[str, Any]) -> None:
    request = InferRequest(None, {}, {}, None, binary_output=True)
    whole, length = render_response("m", tensors, request)
    assert length is not None
    header = json.loads(whole[:length])

    again = parse({"inputs": header["outputs"]}, whole[length:])

    for name, array in tensors.items():
        assert again.inputs[name].tobytes() == array.tobytes()
        assert again.inputs[name].dtype == array.dtype


def test_tritonclient_writes_what_we_read_and_reads_what_we_write() -> None:
    import tritonclient.http as client

    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    words = np.array([[b"a"], ["é".encode()]], dtype=object)
    for binary in (True, False):
        inputs = [client.InferInput("x", [2, 3], "FP32"), client.InferInput("words", [2, 1], "BYTES")]
        inputs[0].set_data_from_numpy(x, binary_data=binary)
        inputs[1].set_data_from_numpy(words, binary_data=binary)
        outputs = [client.InferRequestedOutput(name, binary_data=binary) for name in ("x", "words")]
        sent, length = client.InferenceServerClient.generate_request_body(inputs, outputs=outputs, request_id="9")

        request = parse_request(sent, length)
        np.testing.assert_array_equal(request.inputs["x"], x)
        np.testing.assert_array_equal(request.inputs["words"], words)

        text, header = render_response("echo", request.inputs, request)
        result = client.InferenceServerClient.parse_response_body(text, header_length=header)
        np.testing.assert_array_equal(result.as_numpy("x"), x)
        assert [bytes(w) if binary else w.encode() for w in result.as_numpy("words").ravel()] == words.ravel().tolist()


KEYS = ("name", "datatype", "shape", "data", "parameters")


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(("id", "inputs", "outputs", "parameters"), JSON))
    | st.fixed_dictionaries({"inputs": st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, JSON)))}),
    st.binary(max_size=16) | st.none(),
)
def test_nothing_else_ever_escapes(document: dict[str, Any], tail: bytes | None) -> None:
    try:
        request = parse(document, tail)
    except RuntimeFault:
        return
    assert request.inputs
