"""Tensors between gateway and worker: JSON-able dicts whose data is base64 of the binary form; never checks meaning.

One tensor is `{"name", "datatype", "shape", "data"}`. Base64 costs a third more than the bytes and travels through
any Lambda payload; its speed (about 1 GB/s each way) is far from what limits an invocation.
"""

from __future__ import annotations

import binascii
import math
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from runtime.codecs.binary import check_datatype, check_extents, datatype_of, from_binary, to_binary
from runtime.errors import InvalidBody, InvalidTensor


def encode(tensors: Mapping[str, NDArray[Any]]) -> list[dict[str, Any]]:
    """Tensors as JSON-able dicts; raises InvalidTensor for a dtype that cannot travel."""
    return [
        {
            "name": name,
            "datatype": datatype_of(name, array),
            "shape": list(array.shape),
            "data": binascii.b2a_base64(to_binary(array), newline=False).decode("ascii"),
        }
        for name, array in tensors.items()
    ]


def decode(documents: Sequence[Any]) -> dict[str, NDArray[Any]]:
    """The tensors of such dicts, as read-only views; raises InvalidBody or InvalidTensor.

    Sizes are checked against datatype and shape before base64 is decoded.
    """
    if not isinstance(documents, Sequence) or isinstance(documents, str | bytes):
        raise InvalidBody("tensors must be a list of objects")
    tensors: dict[str, NDArray[Any]] = {}
    for document in documents:
        name, array = _tensor(document)
        if name in tensors:
            raise InvalidTensor(name, "it is given twice", "one tensor of each name")
        tensors[name] = array
    return tensors


def _tensor(document: Any) -> tuple[str, NDArray[Any]]:
    try:
        name, datatype, data = document["name"], document["datatype"], document["data"]
        shape = document["shape"]
    except (TypeError, KeyError, IndexError):
        raise InvalidBody("a tensor needs name, datatype, shape and data") from None
    if not isinstance(name, str) or not isinstance(data, str):
        raise InvalidBody("a tensor's name and data must be strings")
    dtype = check_datatype(name, datatype)
    extents = check_extents(name, shape)
    if datatype != "BYTES" and len(data) > 4 * (math.prod(extents) * dtype.itemsize // 3 + 1):
        raise InvalidTensor(name, f"it carries {len(data)} characters of base64", f"{datatype} {list(extents)}")
    try:
        raw = binascii.a2b_base64(data, strict_mode=True)
    except ValueError as error:
        raise InvalidTensor(name, f"its data is not base64 ({error})", "base64 of the binary form") from None
    return name, from_binary(name, datatype, extents, raw)
