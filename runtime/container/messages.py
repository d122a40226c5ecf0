"""Open Inference Protocol v2 messages to requests and back; never needs a connection, nor knows what serves.

A tensor travels raw (the protocol's binary form, for all tensors of a message or for none) or typed (a repeated field
for each family of datatypes). Source: kserve/open-inference-protocol, `specification/protocol/inference_grpc.md`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.codecs.binary import DTYPES, datatype_of, from_binary, to_binary
from runtime.codecs.v2 import UNSERVED, InferRequest, Parameters
from runtime.container.inference_pb2 import (
    InferParameter,
    InferTensorContents,
    ModelInferRequest,
    ModelInferResponse,
    ModelRepositoryParameter,
)
from runtime.errors import InvalidBody, InvalidTensor
from runtime.tensor import check_datatype, check_extents, most_elements

_CONTENTS: Mapping[str, str] = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Which field of InferTensorContents holds a datatype's elements; FP16 has none."""


def parse_message(message: ModelInferRequest) -> InferRequest:
    """The request of a message; its outputs are wanted raw if its inputs are.

    Raises InvalidBody for what is not the protocol, InvalidTensor for a tensor that contradicts itself.
    """
    inputs = _inputs(message)
    raw = len(message.raw_input_contents) > 0
    for tensor in (*message.inputs, *message.outputs):
        parse_parameters(tensor.parameters, f"tensor {tensor.name:.80}")
    return InferRequest(
        id=message.id or None,
        parameters=parse_parameters(message.parameters, "the request"),
        inputs=inputs,
        outputs=dict.fromkeys((output.name for output in message.outputs), raw) or None,
        binary_output=raw,
    )


def parse_parameters(parameters: Mapping[str, InferParameter | ModelRepositoryParameter], what: str) -> Parameters:
    """The values of a message's parameters; raises InvalidBody for one without a value, or that is not served."""
    values: dict[str, str | int | float | bool] = {}
    for key, parameter in parameters.items():
        field = parameter.WhichOneof("parameter_choice")
        if field is None:
            raise InvalidBody(f"parameter {key!r:.80} of {what} has no value")
        if key in UNSERVED:
            raise InvalidBody(f"parameter {key!r} of {what} is not served here")
        values[key] = getattr(parameter, field)
    return values


def render_message(
    model: str,
    outputs: Mapping[str, NDArray[Any]],
    request: InferRequest,
    *,
    version: str | None = None,
    parameters: Parameters | None = None,
) -> ModelInferResponse:
    """The message that answers a request: what it asked for, raw if its inputs were, or if an output is FP16.

    Raises InvalidTensor for a requested output that is not there.
    """
    wanted = request.outputs or outputs
    absent = next((name for name in wanted if name not in outputs), None)
    if absent is not None:
        raise InvalidTensor(absent[:80], "the task has no such output", f"one of {sorted(outputs)}")
    answer = ModelInferResponse(model_name=model, model_version=version or "", id=request.id or "")
    for key, value in (parameters or {}).items():
        _set_parameter(answer.parameters[key], value)
    arrays = [(name, outputs[name], datatype_of(name, outputs[name])) for name in wanted]
    raw = request.binary_output or any(datatype not in _CONTENTS for _, _, datatype in arrays)
    for name, array, datatype in arrays:
        tensor = answer.outputs.add(name=name, datatype=datatype, shape=array.shape)
        if raw:
            answer.raw_output_contents.append(bytes(to_binary(array)))
        else:
            getattr(tensor.contents, _CONTENTS[datatype]).extend(array.ravel().tolist())
    return answer


def _inputs(message: ModelInferRequest) -> dict[str, NDArray[Any]]:
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise InvalidBody(f"raw_input_contents holds {len(raw)} tensors, and inputs {len(message.inputs)}")
    if not message.inputs:
        raise InvalidBody("inputs must hold at least one tensor")
    tensors: dict[str, NDArray[Any]] = {}
    for i, tensor in enumerate(message.inputs):
        name = tensor.name
        if not name:
            raise InvalidBody("an input needs a name")
        if name in tensors:
            raise InvalidTensor(name[:80], "it is given twice", "one tensor of each name")
        if raw and tensor.HasField("contents"):
            raise InvalidTensor(name[:80], "it has both contents and raw_input_contents", "one of them")
        datatype = check_datatype(name, tensor.datatype)
        shape = check_extents(name, list(tensor.shape), max_elements=most_elements(datatype))
        if raw:
            tensors[name] = from_binary(name, datatype, shape, raw[i])
        else:
            tensors[name] = _typed(name, datatype, shape, tensor.contents)
    return tensors


def _typed(name: str, datatype: str, shape: tuple[int, ...], contents: InferTensorContents) -> NDArray[Any]:
    if datatype not in _CONTENTS:
        raise InvalidTensor(name, f"{datatype} has no typed contents in this protocol", "raw_input_contents")
    used = [field.name for field, _ in contents.ListFields()]
    if used not in ([], [_CONTENTS[datatype]]):
        raise InvalidTensor(name, f"its contents are in {' and '.join(used)}", f"{_CONTENTS[datatype]} for {datatype}")
    values = getattr(contents, _CONTENTS[datatype])
    if len(values) != math.prod(shape):
        raise InvalidTensor(
            name, f"it carries {len(values)} elements", f"{math.prod(shape)} for {datatype} {list(shape)}"
        )
    dtype = DTYPES[datatype]
    if dtype.kind in "iu" and values:
        limits = np.iinfo(dtype)
        if min(values) < limits.min or max(values) > limits.max:
            raise InvalidTensor(name, "a number is out of range", f"what {datatype} can hold")
    return np.fromiter(values, dtype, len(values)).reshape(shape)


def _set_parameter(parameter: InferParameter, value: str | float | bool) -> None:
    if isinstance(value, bool):
        parameter.bool_param = value
    elif isinstance(value, int):
        parameter.int64_param = value
    elif isinstance(value, float):
        parameter.double_param = value
    else:
        parameter.string_param = value
