"""Messages to requests and back: raw and typed tensors, parameters, and what must not get through."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from runtime.codecs.binary import DTYPES, datatype_of, to_binary
from runtime.codecs.v2 import InferRequest
from runtime.container.inference_pb2 import ModelInferRequest, ModelInferResponse
from runtime.container.messages import parse_message, parse_parameters, render_message
from runtime.errors import InvalidBody, InvalidTensor, RuntimeFault

SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
NUMBERS = st.sampled_from([dtype for name, dtype in DTYPES.items() if name != "BYTES"])
STRINGS = hnp.arrays(np.dtype(object), SHAPES, elements=st.binary(max_size=5), fill=st.nothing())
ARRAYS = st.one_of(NUMBERS.flatmap(lambda dtype: hnp.arrays(dtype, SHAPES)), STRINGS)

FIELDS = {"b": "bool_contents", "i": "int_contents", "u": "uint_contents", "O": "bytes_contents"}
WIDE = {"INT64": "int64_contents", "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents"}


def message(*, raw: bool = False, **arrays: NDArray[Any]) -> ModelInferRequest:
    """A request with these inputs."""
    request = ModelInferRequest(model_name="m")
    for name, array in arrays.items():
        datatype = datatype_of(name, array)
        tensor = request.inputs.add(name=name, datatype=datatype, shape=array.shape)
        if raw:
            request.raw_input_contents.append(bytes(to_binary(array)))
        else:
            field = WIDE.get(datatype) or FIELDS[array.dtype.kind]
            getattr(tensor.contents, field).extend(array.ravel().tolist())
    return request


def request(*outputs: str, raw: bool = False) -> InferRequest:
    return InferRequest("7", {}, {}, dict.fromkeys(outputs, raw) or None, raw)


def read(answer: ModelInferResponse) -> dict[str, NDArray[Any]]:
    """The arrays of an answer, read as if it were a request."""
    again = ModelInferRequest(raw_input_contents=answer.raw_output_contents)
    for tensor in answer.outputs:
        again.inputs.add().MergeFromString(tensor.SerializeToString())
    return dict(parse_message(again).inputs)


@given(array=ARRAYS, raw=st.booleans())
def test_what_is_sent_is_what_is_read(array: NDArray[Any], raw: bool) -> None:
    raw = raw or array.dtype == np.float16
    parsed = parse_message(message(x=array, raw=raw))
    answered = read(render_message("m", {"y": array}, parsed))

    for got in (parsed.inputs["x"], answered["y"]):
        assert (got.dtype, got.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(got, array)


def test_several_inputs_keep_their_names_and_order() -> None:
    given = {"b": np.int8([[1, -2]]), "a": np.array([b"x", b""], dtype=object), "c": np.bool_([True])}
    parsed = parse_message(message(raw=True, **given))

    assert list(parsed.inputs) == ["b", "a", "c"]
    for name, array in given.items():
        np.testing.assert_array_equal(parsed.inputs[name], array)


def test_a_request_says_its_id_parameters_and_outputs() -> None:
    sent = message(x=np.float32([1]), raw=True)
    sent.id = "42"
    sent.parameters["latency_ms"].double_param = 7.5
    sent.parameters["timeout"].int64_param = 9
    sent.parameters["priority"].uint64_param = 2
    sent.parameters["user"].string_param = "ada"
    sent.parameters["strict"].bool_param = True
    sent.outputs.add(name="y")
    parsed = parse_message(sent)

    assert (parsed.id, parsed.outputs, parsed.binary_output) == ("42", {"y": True}, True)
    assert parsed.parameters == {"latency_ms": 7.5, "timeout": 9, "priority": 2, "user": "ada", "strict": True}


def test_a_request_without_id_and_outputs_asks_for_all() -> None:
    parsed = parse_message(message(x=np.float32([1])))

    assert (parsed.id, parsed.outputs, parsed.binary_output) == (None, None, False)


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [("INT8", "int_contents", [128]), ("UINT8", "uint_contents", [256]), ("INT16", "int_contents", [-32769])],
)
def test_a_number_that_the_datatype_cannot_hold_is_refused(datatype: str, field: str, values: list[int]) -> None:
    sent = ModelInferRequest()
    getattr(sent.inputs.add(name="x", datatype=datatype, shape=[1]).contents, field).extend(values)

    with pytest.raises(InvalidTensor, match="x: a number is out of range"):
        parse_message(sent)


def change(change: str) -> ModelInferRequest:  # noqa: PLR0912 (one branch for each fault)
    """A good request of two raw inputs with one fault."""
    sent = message(x=np.float32([[1, 2]]), z=np.int64([3]), raw=True)
    match change:
        case "no inputs":
            return ModelInferRequest()
        case "no name":
            sent.inputs[0].name = ""
        case "twice":
            sent.inputs[1].name = "x"
        case "too few raw":
            del sent.raw_input_contents[1]
        case "short":
            sent.raw_input_contents[0] = b"1234567"
        case "both":
            sent.inputs[0].contents.fp32_contents.extend([1, 2])
        case "datatype":
            sent.inputs[0].datatype = "BF16"
        case "shape":
            sent.inputs[0].shape[0] = -1
        case "strings":
            sent.inputs[0].datatype, sent.inputs[0].shape[0] = "BYTES", 2**20
        case "shared memory":
            sent.inputs[0].parameters["shared_memory_region"].string_param = "r"
        case "classification":
            sent.outputs.add(name="y").parameters["classification"].int64_param = 3
        case "no value":
            sent.parameters["timeout"].SetInParent()
        case "typed FP16":
            del sent.raw_input_contents[:]
            sent.inputs[0].datatype = "FP16"
        case "wrong field":
            del sent.raw_input_contents[:]
            sent.inputs[0].contents.fp64_contents.extend([1, 2])
        case "too few typed":
            del sent.raw_input_contents[:]
            sent.inputs[0].contents.fp32_contents.extend([1])
    return sent


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        ("no inputs", InvalidBody, "at least one"),
        ("no name", InvalidBody, "needs a name"),
        ("twice", InvalidTensor, "given twice"),
        ("too few raw", InvalidBody, "raw_input_contents holds 1 tensors, and inputs 2"),
        ("short", InvalidTensor, "7 bytes; expected 8"),
        ("both", InvalidTensor, "both"),
        ("datatype", InvalidTensor, "BF16"),
        ("shape", InvalidTensor, "-1"),
        ("strings", InvalidTensor, "too large; expected at most 1048576 elements"),
        ("shared memory", InvalidBody, "shared_memory_region"),
        ("classification", InvalidBody, "classification"),
        ("no value", InvalidBody, "'timeout' of the request has no value"),
        ("typed FP16", InvalidTensor, "raw_input_contents"),
        ("wrong field", InvalidTensor, "in fp64_contents; expected fp32_contents"),
        ("too few typed", InvalidTensor, "1 elements; expected 2"),
    ],
)
def test_what_is_not_the_protocol_is_refused(fault: str, error: type[RuntimeFault], says: str) -> None:
    with pytest.raises(error, match=says):
        parse_message(change(fault))


@given(data=st.binary(max_size=200))
def test_no_bytes_but_a_fault_or_a_request(data: bytes) -> None:
    sent = message(x=np.float32([[1, 2]]))
    try:
        sent.MergeFromString(data)
    except DecodeError:
        return
    try:
        parsed = parse_message(sent)
    except RuntimeFault:
        return
    assert parsed.inputs


def test_an_answer_names_the_model_its_version_and_how_it_ran() -> None:
    how = {"variant": "small", "threads": 2, "queue_ms": 0.5, "loaded": True}
    answer = render_message("m", {"y": np.float32([1])}, request(), version="small", parameters=how)

    assert (answer.model_name, answer.model_version, answer.id) == ("m", "small", "7")
    assert parse_parameters(answer.parameters, "the answer") == how


@pytest.mark.parametrize("raw", [False, True])
def test_an_answer_holds_what_was_asked_for_in_its_order(raw: bool) -> None:
    outputs = {name: np.int32([[i]]) for i, name in enumerate("abc")}
    answer = render_message("m", outputs, request("c", "a", raw=raw))

    assert [tensor.name for tensor in answer.outputs] == ["c", "a"]
    assert len(answer.raw_output_contents) == (2 if raw else 0)
    assert {name: array.tolist() for name, array in read(answer).items()} == {"c": [[2]], "a": [[0]]}


def test_an_output_in_fp16_makes_the_answer_raw() -> None:
    outputs = {"a": np.float32([1]), "b": np.float16([2])}
    answer = render_message("m", outputs, request())

    assert len(answer.raw_output_contents) == 2
    assert {name: array.tolist() for name, array in read(answer).items()} == {"a": [1], "b": [2]}


def test_an_output_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidTensor, match="zz"):
        render_message("m", {"y": np.float32([1])}, request("zz"))
