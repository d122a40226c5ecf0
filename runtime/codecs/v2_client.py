"""Open Inference Protocol v2 as its client speaks it, every tensor in binary; it sends and receives nothing.

Sources as in `runtime.codecs.v2`, which is the server's side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from runtime.codecs.binary import datatype_of, from_binary, to_binary
from runtime.codecs.text import dumps, loads
from runtime.errors import InvalidBody, InvalidTensor
from runtime.tensor import check_datatype, check_extents

Scalar = str | int | float | bool

ALIGNMENT = 8
"""The header is padded with spaces to a multiple of it, so that the first tensor can be viewed where it arrives."""


@dataclass(frozen=True, slots=True)
class InferAnswer:
    """An answer, its tensors decoded as views of the body."""

    version: str
    """Empty where the server does not say."""
    parameters: Mapping[str, Scalar]
    outputs: Mapping[str, NDArray[Any]]


def render_request(
    inputs: Mapping[str, NDArray[Any]], parameters: Mapping[str, Scalar]
) -> tuple[list[bytes | memoryview], int]:
    """The pieces of the body that asks for all outputs in binary, and its Inference-Header-Content-Length.

    Tensors are viewed, not copied, where that is possible. Raises InvalidTensor for a dtype that cannot travel.
    """
    tail: list[bytes | memoryview] = []
    documents: list[dict[str, Any]] = []
    for name, array in inputs.items():
        datatype = datatype_of(name, array)
        tail.append(to_binary(array))
        size = {"binary_data_size": len(tail[-1])}
        documents.append({"name": name, "datatype": datatype, "shape": array.shape, "parameters": size})
    header = dumps({"parameters": {**parameters, "binary_data_output": True}, "inputs": documents})
    header = header.ljust(math.ceil(len(header) / ALIGNMENT) * ALIGNMENT)
    return [header, *tail], len(header)


def parse_answer(body: bytes, header_length: int | None) -> InferAnswer:
    """The answer in a body; `header_length` is its Inference-Header-Content-Length, None for pure JSON.

    Raises InvalidBody or InvalidTensor for what is not the protocol, or for an output that is not in binary.
    """
    view = memoryview(body)
    document = loads(view if header_length is None else view[:header_length])
    try:
        outputs = dict(_outputs(document["outputs"], view[header_length or len(view) :]))
        return InferAnswer(document.get("model_version", ""), document.get("parameters", {}), outputs)
    except (AttributeError, KeyError, TypeError) as error:
        raise InvalidBody(f"this is no answer of the protocol: {type(error).__name__}: {error}") from None


def _outputs(documents: Any, tail: memoryview) -> Iterator[tuple[str, NDArray[Any]]]:
    at = 0
    for document in documents:
        name = str(document["name"])
        datatype, shape = check_datatype(name, document["datatype"]), check_extents(name, document["shape"])
        size = document.get("parameters", {}).get("binary_data_size")
        if not isinstance(size, int) or not 0 <= size <= len(tail) - at:
            raise InvalidTensor(name, "it is not there in binary", "binary_data_size, and as many bytes")
        yield name, from_binary(name, datatype, shape, tail[at : at + size])
        at += size
