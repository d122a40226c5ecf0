"""Tensors to and from the Open Inference Protocol's binary form; never copies what it can view.

Numbers are little-endian and row-major; each BYTES element is a 4-byte little-endian length followed by its bytes
(Open Inference Protocol v2, "Binary Tensor Data Extension").
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InvalidTensor

DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype(object),
}
"""The numpy dtype of each protocol datatype."""

_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_LENGTH = struct.Struct("<I")

MAX_ELEMENTS = 1 << 24
"""Most elements of one tensor: 64 MiB as FP32, ten times what a 6 MB invocation can carry."""

MAX_RANK = 16
"""Most axes of one tensor; numpy itself stops at 64."""


def datatype_of(name: str, array: NDArray[Any]) -> str:
    """The protocol's datatype of an array; raises InvalidTensor naming `name` when there is none."""
    datatype = _NAMES.get(array.dtype)
    if datatype is None:
        raise InvalidTensor(name, f"dtype {array.dtype} cannot travel", f"one of {sorted(DTYPES)}")
    return datatype


def check_extents(name: str, shape: Any, *, max_elements: int = MAX_ELEMENTS) -> tuple[int, ...]:
    """A shape as it came from outside, once it is known to be harmless; raises InvalidTensor.

    Extents are non-negative integers; their product is computed without overflow and stays under `max_elements`.
    """
    if not isinstance(shape, Sequence) or isinstance(shape, str | bytes):
        raise InvalidTensor(name, "its shape is not a list", "a list of extents")
    if len(shape) > MAX_RANK:
        raise InvalidTensor(name, f"it has {len(shape)} axes", f"at most {MAX_RANK}")
    for extent in shape:
        if type(extent) is not int or extent < 0:
            raise InvalidTensor(name, f"its shape holds {extent!r:.40}", "non-negative integers")
    if math.prod(shape) > max_elements:
        raise InvalidTensor(name, f"its shape {list(shape)} is too large", f"at most {max_elements} elements")
    return tuple(shape)


def check_datatype(name: str, datatype: Any) -> np.dtype[Any]:
    """The dtype of a datatype as it came from outside; raises InvalidTensor for an unknown one."""
    dtype = DTYPES.get(datatype) if isinstance(datatype, str) else None
    if dtype is None:
        raise InvalidTensor(name, f"datatype {datatype!r:.40} is unknown", f"one of {sorted(DTYPES)}")
    return dtype


def to_binary(array: NDArray[Any]) -> bytes | memoryview:
    """The binary form of an array whose dtype is one of DTYPES' (object arrays hold `bytes`), viewed where it can be.

    The view is of single bytes: its `len` is its size.
    """
    if array.dtype != object:
        return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    parts: list[bytes] = []
    for element in array.ravel():
        parts += (_LENGTH.pack(len(element)), element)
    return b"".join(parts)


def from_binary(name: str, datatype: str, shape: tuple[int, ...], data: bytes | memoryview) -> NDArray[Any]:
    """The array of a checked datatype and shape that `data` holds: a read-only view of it, unless it is BYTES.

    Raises InvalidTensor when the size of `data` is not what datatype and shape say.
    """
    dtype = DTYPES[datatype]
    count = math.prod(shape)
    if datatype == "BYTES":
        return _bytes_elements(name, count, memoryview(data)).reshape(shape)
    if len(data) != count * dtype.itemsize:
        raise InvalidTensor(
            name, f"it carries {len(data)} bytes", f"{count * dtype.itemsize} for {datatype} {list(shape)}"
        )
    array = np.frombuffer(data, dtype=dtype).reshape(shape)
    # A view into the middle of a body can start at any byte; kernels may assume alignment.
    return array if array.flags.aligned else array.copy()


def _bytes_elements(name: str, count: int, data: memoryview) -> NDArray[Any]:
    # Each element needs at least its length: a lying shape is refused before anything is allocated.
    if count * _LENGTH.size > len(data):
        raise InvalidTensor(name, f"it carries {len(data)} bytes", f"at least {count * _LENGTH.size} for {count} BYTES")
    elements = np.empty(count, dtype=object)
    at = 0
    for i in range(count):
        start = at + _LENGTH.size
        if start > len(data):
            raise InvalidTensor(name, f"it ends before element {i}", f"{count} BYTES elements")
        at = start + _LENGTH.unpack_from(data, at)[0]
        if at > len(data):
            raise InvalidTensor(name, f"element {i} ends after the data", "lengths that fit")
        elements[i] = bytes(data[start:at])
    if at != len(data):
        raise InvalidTensor(name, f"{len(data) - at} bytes follow the last element", f"{count} BYTES elements")
    return elements
