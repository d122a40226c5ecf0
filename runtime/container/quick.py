"""The usual infer request and its answer in JSON, at the least cost; leaves every other to `codecs.v2`.

What is read here is what `parse_request` reads, in a quarter of the time: whatever is not as usual is handed on, faults
included, so that there is one place that says what is wrong.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from runtime.batcher import Outcome
from runtime.codecs.binary import DTYPES, datatype_of
from runtime.codecs.text import dumps
from runtime.codecs.v2 import UNSERVED, InferRequest, parse_request, render_response
from runtime.tensor import MAX_ELEMENTS, MAX_RANK

_CODES = {"FP32": "f", "FP64": "d", "INT64": "q", "INT32": "i", "UINT8": "B", "INT8": "b"}
"""Datatypes and the codes of `struct` for them: it takes a list in half of numpy's time, and only what fits."""

_USUAL = frozenset({"id", "inputs", "parameters"})


class _Unusual(Exception):
    """The request is to be read by `parse_request`."""


def parse(body: bytes | bytearray, header_length: int | None) -> InferRequest:
    """What `parse_request` makes of this body."""
    # A boolean would pass for a number.
    if header_length is None and b"true" not in body and b"false" not in body:
        try:
            return _usual(orjson.loads(body))
        except (_Unusual, struct.error, ValueError, OverflowError, TypeError, KeyError):
            pass
    return parse_request(body, header_length)


def _usual(document: Any) -> InferRequest:
    if type(document) is not dict or not _USUAL.issuperset(document):
        raise _Unusual
    id_, parameters = document.get("id"), document.get("parameters")
    if id_ is not None and type(id_) is not str:
        raise _Unusual
    if parameters:
        _check_parameters(parameters)
    tensors: dict[str, NDArray[Any]] = {}
    for tensor in document["inputs"]:
        name = tensor["name"]
        if len(tensor) != 4 or type(name) is not str or not name or name in tensors:
            raise _Unusual
        tensors[name] = _tensor(tensor["datatype"], tensor["shape"], tensor["data"])
    if not tensors:
        raise _Unusual
    return InferRequest(id_, parameters or {}, tensors, None)


def _check_parameters(parameters: Any) -> None:
    if type(parameters) is not dict or "binary_data_output" in parameters:
        raise _Unusual
    for name, value in parameters.items():
        if name in UNSERVED or not isinstance(value, str | int | float):
            raise _Unusual


def _tensor(datatype: str, shape: Any, data: Any) -> NDArray[Any]:
    if type(shape) is not list or type(data) is not list or not data or len(shape) > MAX_RANK:
        raise _Unusual
    if type(data[0]) is list:
        # Two axes, nested: as long as every row is.
        if len(shape) != 2 or len(data) != shape[0] or any(len(row) != shape[1] for row in data):
            raise _Unusual
        data = list(chain.from_iterable(data))
    count = len(data)
    if math.prod(shape) != count or count > MAX_ELEMENTS:
        raise _Unusual
    packed = _packer(_CODES[datatype], count)(*data)
    return np.frombuffer(packed, DTYPES[datatype]).reshape(shape)


@functools.lru_cache(maxsize=256)
def _packer(code: str, count: int) -> Callable[..., bytes]:
    return struct.Struct(f"<{count}{code}").pack


def render(model: str, outcome: Outcome, request: InferRequest) -> tuple[bytes, int | None]:
    """What `render_response` makes of this outcome, with how it was made as parameters."""
    outputs = outcome.outputs
    if request.outputs is None and not request.binary_output:
        try:
            parts = [_output(name, output) for name, output in outputs.items()]
        except _Unusual:
            pass
        else:
            return _head(model, outcome, request.id) + b",".join(parts) + b"]}", None
    return render_response(model, outputs, request, version=outcome.variant, parameters=parameters_of(outcome))


def _head(model: str, outcome: Outcome, id_: str | None) -> bytes:
    variant = _quoted(outcome.variant)
    return (
        b'{"model_name":%b,"model_version":%b,%b"parameters":{"variant":%b,"threads":%d,"batch":%d,"queue_ms":%.3f,'
        b'"run_ms":%.3f,"loaded":%b},"outputs":['
        % (
            _quoted(model),
            variant,
            b"" if id_ is None else b'"id":%b,' % orjson.dumps(id_),
            variant,
            outcome.threads,
            outcome.batch,
            outcome.queue_s * 1e3,
            outcome.run_s * 1e3,
            b"true" if outcome.loaded else b"false",
        )
    )


def _output(name: str, output: NDArray[Any]) -> bytes:
    begin = _begin(name, output.dtype.char)
    if begin is None or not output.flags.c_contiguous:
        raise _Unusual
    return b'%b%b,"data":%b}' % (
        begin,
        orjson.dumps(output.shape),
        orjson.dumps(output.reshape(-1), option=orjson.OPT_SERIALIZE_NUMPY),
    )


@functools.lru_cache(maxsize=1024)
def _begin(name: str, char: str) -> bytes | None:
    """An output's document up to its shape; None where its data has no form in JSON, or one of its own."""
    dtype = np.dtype(char)
    if dtype.kind == "O" or (dtype.kind == "f" and dtype.itemsize == 2):
        return None
    datatype = datatype_of(name, np.empty(0, dtype))
    return b'{"name":%b,"datatype":"%b","shape":' % (_quoted(name), datatype.encode())


def parameters_of(outcome: Outcome) -> Mapping[str, str | int | float | bool]:
    """How an answer was made, as the protocol's flat parameters."""
    return {
        "variant": outcome.variant,
        "threads": outcome.threads,
        "batch": outcome.batch,
        "queue_ms": round(outcome.queue_s * 1e3, 3),
        "run_ms": round(outcome.run_s * 1e3, 3),
        "loaded": outcome.loaded,
    }


@functools.lru_cache(maxsize=1024)
def _quoted(name: str) -> bytes:
    """A name as JSON; names are few."""
    return dumps(name)
