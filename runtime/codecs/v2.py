"""Open Inference Protocol v2 over REST, with the binary tensor extension; never knows tasks, SLOs or variants.

Sources: kserve/open-inference-protocol, `specification/protocol/inference_rest.md`; Triton's
`extension_binary_data.md` for the header `Inference-Header-Content-Length` and the parameters `binary_data_size`,
`binary_data` and `binary_data_output`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from numpy.typing import NDArray

from runtime.codecs.binary import datatype_of, from_binary, to_binary
from runtime.codecs.nested import from_nested, to_nested
from runtime.codecs.text import dumps, loads
from runtime.errors import InvalidBody, InvalidTensor
from runtime.tensor import check_datatype, check_extents, most_elements

if TYPE_CHECKING:
    from registry.model import TensorSpec

Parameters = Mapping[str, str | int | float | bool]

UNSERVED = ("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset", "classification")
"""Tensor parameters whose silent neglect would change the answer."""


class InferRequest(NamedTuple):
    """An infer request, its tensors decoded as views of the body."""

    id: str | None
    parameters: Parameters
    inputs: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, bool] | None
    """Requested outputs, each with whether it is wanted in binary; None asks for all of them."""
    binary_output: bool = False
    """Whether outputs are wanted in binary where `outputs` does not say."""


def parse_request(body: bytes | bytearray, header_length: int | None = None) -> InferRequest:
    """The request of a body; `header_length` is the value of Inference-Header-Content-Length, if the header came.

    Raises InvalidBody for what is not the protocol, InvalidTensor for a tensor that contradicts itself.
    """
    view = memoryview(body)
    if header_length is not None and not 0 <= header_length <= len(view):
        raise InvalidBody(f"Inference-Header-Content-Length is {header_length}, and the body has {len(view)} bytes")
    document = _object(loads(view[:header_length]), "the body")
    tail = view[header_length:] if header_length is not None else view[:0]
    parameters = _parameters(document, "the request")
    binary_output = _boolean(parameters, "binary_data_output", False)
    return InferRequest(
        id=_id(document),
        parameters=parameters,
        inputs=_inputs(document, tail),
        outputs=_outputs(document, binary_output),
        binary_output=binary_output,
    )


def check_outputs(specs: Sequence[TensorSpec], request: InferRequest) -> None:
    """Raise InvalidTensor unless every requested output is one of the signature's."""
    names = {spec.name for spec in specs}
    for name in request.outputs or ():
        if name not in names:
            raise InvalidTensor(name[:80], "the task has no such output", f"one of {sorted(names)}")


def render_response(
    model: str,
    outputs: Mapping[str, NDArray[Any]],
    request: InferRequest,
    *,
    version: str | None = None,
    parameters: Parameters | None = None,
) -> tuple[bytes, int | None]:
    """The body that answers a request, and the Inference-Header-Content-Length to send, None for pure JSON.

    Only what was asked for is sent, in the form it was asked in. Raises InvalidTensor for a requested output that is
    not there, or for FP16 or non-UTF-8 BYTES asked for as JSON.
    """
    wanted = request.outputs if request.outputs is not None else dict.fromkeys(outputs, request.binary_output)
    documents: list[dict[str, Any]] = []
    tail: list[bytes | memoryview] = []
    for name, binary in wanted.items():
        if name not in outputs:
            raise InvalidTensor(name[:80], "the task has no such output", f"one of {sorted(outputs)}")
        array = outputs[name]
        document: dict[str, Any] = {"name": name, "datatype": datatype_of(name, array), "shape": list(array.shape)}
        if binary:
            tail.append(to_binary(array))
            document["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            document["data"] = _json_data(name, array)
        documents.append(document)
    envelope: dict[str, Any] = {"model_name": model}
    envelope |= {"model_version": version} if version is not None else {}
    envelope |= {"id": request.id} if request.id is not None else {}
    envelope |= {"parameters": dict(parameters)} if parameters else {}
    header = dumps(envelope | {"outputs": documents})
    return (b"".join((header, *tail)), len(header)) if tail else (header, None)


def _json_data(name: str, array: NDArray[Any]) -> Any:
    if array.dtype.itemsize == 2 and array.dtype.kind == "f":
        raise InvalidTensor(name, "FP16 has no JSON form in this protocol", "a request for binary_data")
    return to_nested(name, array.ravel())


def _id(document: Mapping[str, Any]) -> str | None:
    value = document.get("id")
    if value is not None and not isinstance(value, str):
        raise InvalidBody("id must be a string")
    return value


def _inputs(document: Mapping[str, Any], tail: memoryview) -> dict[str, NDArray[Any]]:
    tensors: dict[str, NDArray[Any]] = {}
    at = 0
    for value in _list(document, "inputs"):
        tensor = _object(value, "an input")
        name = _name(tensor, "an input")
        if name in tensors:
            raise InvalidTensor(name[:80], "it is given twice", "one tensor of each name")
        size = _binary_size(name, tensor)
        if size is None:
            tensors[name] = _json_tensor(name, tensor)
        else:
            if size > len(tail) - at:
                raise InvalidTensor(name, f"binary_data_size is {size}", f"at most the {len(tail) - at} bytes left")
            tensors[name] = _binary_tensor(name, tensor, tail[at : at + size])
            at += size
    if at != len(tail):
        raise InvalidBody(f"{len(tail) - at} bytes follow the last binary tensor")
    if not tensors:
        raise InvalidBody("inputs must hold at least one tensor")
    return tensors


def _binary_size(name: str, tensor: Mapping[str, Any]) -> int | None:
    parameters = _parameters(tensor, f"input {name:.80}")
    size = parameters.get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0:
        raise InvalidTensor(name, f"binary_data_size is {size!r:.40}", "a non-negative integer")
    if "data" in tensor:
        raise InvalidTensor(name, "it has both data and binary_data_size", "one of them")
    return size


def _binary_tensor(name: str, tensor: Mapping[str, Any], data: memoryview) -> NDArray[Any]:
    datatype, shape = _signature(name, tensor)
    return from_binary(name, datatype, shape, data)


def _json_tensor(name: str, tensor: Mapping[str, Any]) -> NDArray[Any]:
    datatype, shape = _signature(name, tensor)
    if datatype == "FP16":
        raise InvalidTensor(name, "FP16 has no JSON form in this protocol", "binary_data_size and binary data")
    if "data" not in tensor:
        raise InvalidTensor(name, "it has no data", "data, or binary_data_size and the request header's length")
    array = from_nested(name, datatype, tensor["data"], max_elements=most_elements(datatype))
    if array.shape != shape and (array.ndim != 1 or array.size != math.prod(shape)):
        raise InvalidTensor(name, f"its data has shape {list(array.shape)}", f"{list(shape)}, nested or flat")
    return array.reshape(shape)


def _signature(name: str, tensor: Mapping[str, Any]) -> tuple[str, tuple[int, ...]]:
    datatype = check_datatype(name, tensor.get("datatype"))
    return datatype, check_extents(name, tensor.get("shape"), max_elements=most_elements(datatype))


def _outputs(document: Mapping[str, Any], binary_output: bool) -> dict[str, bool] | None:
    if document.get("outputs") in (None, []):
        return None
    wanted: dict[str, bool] = {}
    for value in _list(document, "outputs"):
        tensor = _object(value, "an output")
        name = _name(tensor, "an output")
        wanted[name] = _boolean(_parameters(tensor, f"output {name:.80}"), "binary_data", binary_output)
    return wanted


def _parameters(holder: Mapping[str, Any], what: str) -> Parameters:
    given = holder.get("parameters")
    parameters = _object({} if given is None else given, f"parameters of {what}")
    for key, value in parameters.items():
        if not isinstance(value, str | int | float | bool):
            raise InvalidBody(f"parameter {key!r:.80} of {what} must be a string, number or boolean")
        if key in UNSERVED:
            raise InvalidBody(f"parameter {key!r} of {what} is not served here")
    return parameters


def _boolean(parameters: Parameters, key: str, default: bool) -> bool:
    value = parameters.get(key, default)
    if not isinstance(value, bool):
        raise InvalidBody(f"parameter {key!r} must be a boolean")
    return value


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidBody(f"{what} must be an object")
    return value


def _list(document: Mapping[str, Any], key: str) -> list[Any]:
    value = document.get(key)
    if not isinstance(value, list):
        raise InvalidBody(f"{key} must be a list")
    return value


def _name(tensor: Mapping[str, Any], what: str) -> str:
    name = tensor.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidBody(f"{what} needs a name")
    return name
