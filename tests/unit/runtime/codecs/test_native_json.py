"""This platform's own JSON inputs and outputs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from registry.model import TensorSpec
from runtime.codecs.native_json import decode_inputs, encode_outputs
from runtime.codecs.text import dumps
from runtime.errors import InvalidTensor
from runtime.tensor import MAX_STRINGS

PIXELS = TensorSpec("pixels", "FP32", (-1, 2))
TEXT = TensorSpec("text", "BYTES", (-1, 1))


def test_tensors_by_name() -> None:
    tensors = decode_inputs((PIXELS, TEXT), {"pixels": [[1, 2.5]], "text": [["hello"]]})

    np.testing.assert_array_equal(tensors["pixels"], np.float32([[1, 2.5]]))
    assert tensors["text"].tolist() == [[b"hello"]]


def test_a_task_of_one_input_takes_the_bare_list() -> None:
    np.testing.assert_array_equal(decode_inputs((PIXELS,), [[1, 2]])["pixels"], np.float32([[1, 2]]))


def test_a_missing_number_is_null_where_the_signature_takes_nan() -> None:
    gaps = TensorSpec("gaps", "FP32", (-1, 2), finite=False)
    np.testing.assert_array_equal(decode_inputs((gaps,), [[1, None]])["gaps"], np.float32([[1, np.nan]]))

    whole = TensorSpec("whole", "INT64", (-1, 2), finite=False)
    for spec in (PIXELS, whole, TensorSpec("text", "BYTES", (-1, 2), finite=False)):
        with pytest.raises(InvalidTensor, match=r"element \[0, 0\] is null"):
            decode_inputs((spec,), [[None, None]])


def test_strings_are_fewer_than_numbers_may_be() -> None:
    with pytest.raises(InvalidTensor, match="it has 1048577 elements in 2 axes; expected at most 1048576"):
        decode_inputs((TEXT,), [[""]] * (MAX_STRINGS + 1))


@pytest.mark.parametrize(
    ("inputs", "tensor", "problem"),
    [
        ([[1, 2]], "inputs", "it is not an object"),
        (None, "inputs", "it is not an object"),
        ("x", "inputs", "it is not an object"),
        ({"pixel": [[1]]}, "pixel", "the task has no such input"),
        ({"pixels": [[1, 2], [3]]}, "pixels", "its lists are ragged at [1]"),
        ({"pixels": "no"}, "pixels", "it is a string"),
        ({"text": [[{"image_b64": ""}]]}, "text", "element [0, 0] is an object"),
        ({"text": {"image_b64": ""}}, "text", "it does not take images"),
    ],
)
def test_what_is_refused(inputs: Any, tensor: str, problem: str) -> None:
    with pytest.raises(InvalidTensor) as refused:
        decode_inputs((PIXELS, TEXT), inputs)

    assert (refused.value.tensor, refused.value.problem) == (tensor, problem)


def test_outputs_for_our_writer_and_for_any_other() -> None:
    outputs = {"p": np.float32([[0.25, 0.75]]), "label": np.array([b"cat"], dtype=object)}
    expected = {"p": [[0.25, 0.75]], "label": ["cat"]}

    assert json.loads(dumps(encode_outputs(outputs))) == expected
    assert json.loads(json.dumps(encode_outputs(outputs, lists=True))) == expected
