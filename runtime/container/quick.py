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
from runtime.codecs.v2 import UNSERVED, InferRequest, Parameters, parse_request, render_response
from runtime.tensor import MAX_ELEMENTS, MAX_RANK

_CODES = {
    datatype: (code, DTYPES[datatype])
    for datatype, code in (("FP32", "f"), ("FP64", "d"), ("INT64", "q"), ("INT32", "i"), ("UINT8", "B"), ("INT8", "b"))
}
"""Datatypes with the codes of `struct` for them: it takes a list in half of numpy's time, and only what fits."""

_NONE: Parameters = {}


class _Unusual(Exception):
    """The request is to be read by `parse_request`."""


def parse(body: bytes | bytearray, header_length: int | None) -> InferRequest:
    """What `parse_request` makes of this body."""
    # A boolean would pass for a number. One byte is found ten times as fast as two, and few requests have these.
    plain = (b"l" not in body or b"false" not in body) and (b"r" not in body or b"true" not in body)
    if plain and header_length is None:
        try:
            return _usual(orjson.loads(body))
        except (_Unusual, struct.error, ValueError, OverflowError, TypeError, KeyError, AttributeError):
            pass
    return parse_request(body, header_length)


def _usual(document: Any) -> InferRequest:
    id_, parameters = document.get("id"), document.get("parameters")
    if len(document) != 1 + ("id" in document) + ("parameters" in document):
        raise _Unusual
    if id_.__class__ is not str and id_ is not None:
        raise _Unusual
    if parameters is not None:
        _check_parameters(parameters)
    tensors: dict[str, NDArray[Any]] = {}
    for tensor in document["inputs"]:
        name, shape, data = tensor["name"], tensor["shape"], tensor["data"]
        if len(tensor) != 4 or name.__class__ is not str or not name or name in tensors:
            raise _Unusual
        if shape.__class__ is not list or data.__class__ is not list or not data or len(shape) > MAX_RANK:
            raise _Unusual
        for extent in shape:
            # Before anything is done with them: a number times a string or a list is as much memory as the number says.
            if extent.__class__ is not int:
                raise _Unusual
        if data[0].__class__ is list:
            data = _flat(data, shape)
        count = len(data)
        if math.prod(shape) != count or count > MAX_ELEMENTS:
            raise _Unusual
        code, dtype = _CODES[tensor["datatype"]]
        tensors[name] = np.frombuffer(_packer(code, count)(*data), dtype).reshape(shape)
    if not tensors:
        raise _Unusual
    return InferRequest(id_, parameters or _NONE, tensors, None)


def _check_parameters(parameters: Any) -> None:
    if type(parameters) is not dict or "binary_data_output" in parameters:
        raise _Unusual
    for name, value in parameters.items():
        if name in UNSERVED or not isinstance(value, str | int | float):
            raise _Unusual


def _flat(data: list[Any], shape: list[Any]) -> list[Any]:
    """Two axes, nested, as one: where every row is as long as the shape says."""
    if len(shape) != 2 or len(data) != shape[0] or any(len(row) != shape[1] for row in data):
        raise _Unusual
    return list(chain.from_iterable(data))


@functools.lru_cache(maxsize=256)
def _packer(code: str, count: int) -> Callable[..., bytes]:
    return struct.Struct(f"<{count}{code}").pack


def render(model: str, outcome: Outcome, request: InferRequest) -> tuple[bytes, int | None]:
    """What `render_response` makes of this outcome, with how it was made as parameters."""
    outputs, variant, threads, batch, queue_s, run_s, loaded = outcome
    if request.outputs is not None or request.binary_output:
        return render_response(model, outputs, request, version=variant, parameters=parameters_of(outcome))
    documents = []
    for name, output in outputs.items():
        begin = _begin(name, output.dtype.char)
        if begin is None or not output.flags.c_contiguous:
            return render_response(model, outputs, request, version=variant, parameters=parameters_of(outcome))
        data = orjson.dumps(output if output.ndim == 1 else output.reshape(-1), option=orjson.OPT_SERIALIZE_NUMPY)
        documents.append(b'%b%b,"data":%b}' % (begin, orjson.dumps(output.shape), data))
    names, id_ = _names(model, variant), request.id
    return b'%b"threads":%d,"batch":%d,"queue_ms":%.3f,"run_ms":%.3f,"loaded":%b},"outputs":[%b]}' % (
        names if id_ is None else b'{"id":%b,%b' % (orjson.dumps(id_), names[1:]),
        threads,
        batch,
        queue_s * 1e3,
        run_s * 1e3,
        b"true" if loaded else b"false",
        b",".join(documents),
    ), None


@functools.lru_cache(maxsize=1024)
def _names(model: str, variant: str) -> bytes:
    """An answer's beginning; names are few."""
    quoted = dumps(variant)
    return b'{"model_name":%b,"model_version":%b,"parameters":{"variant":%b,' % (dumps(model), quoted, quoted)


@functools.lru_cache(maxsize=1024)
def _begin(name: str, char: str) -> bytes | None:
    """An output's document up to its shape; None where its data has no form in JSON, or one of its own."""
    dtype = np.dtype(char)
    if dtype.kind == "O" or (dtype.kind == "f" and dtype.itemsize == 2):
        return None
    datatype = datatype_of(name, np.empty(0, dtype))
    return b'{"name":%b,"datatype":"%b","shape":' % (dumps(name), datatype.encode())


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
