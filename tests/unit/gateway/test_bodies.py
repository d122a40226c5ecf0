"""What a JSON body of a prediction says, and what of it stays while the request waits."""

from __future__ import annotations

import json

import pytest

from gateway.bodies import predict_request
from gateway.errors import Unprocessable
from registry.model import Task, TensorSpec

TASK = Task("rows", (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("label", "INT64", (-1,)),), "accuracy")


def test_what_is_kept_beside_the_tensors_is_not_the_inputs_again() -> None:
    body = json.dumps({"id": "a", "inputs": {"x": [[1, 2], [3, 4]]}, "slo": {"latency_ms": 5}}).encode()
    given, inputs = predict_request(body, TASK)
    assert given == {"id": "a", "slo": {"latency_ms": 5}}
    assert inputs["x"].tolist() == [[1, 2], [3, 4]]


def test_no_inputs_are_a_missing_field() -> None:
    with pytest.raises(Unprocessable, match="inputs: is missing"):
        predict_request(b'{"slo": {}}', TASK)
