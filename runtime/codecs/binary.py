"""Arrays to and from the Open Inference Protocol's binary form; never copies what it can view."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InvalidTensor
from runtime.tensor import Tensor, check_size, join_bytes, split_bytes

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
"""The numpy dtype of each protocol datatype; BYTES are object arrays of `bytes`."""

_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def datatype_of(name: str, array: NDArray[Any]) -> str:
    """The protocol's datatype of an array; raises InvalidTensor naming `name` when there is none."""
    datatype = _NAMES.get(array.dtype)
    if datatype is None:
        raise InvalidTensor(name, f"dtype {array.dtype} cannot travel", f"one of {sorted(DTYPES)}")
    return datatype


def to_binary(array: NDArray[Any]) -> bytes | memoryview:
    """The binary form of an array whose dtype is one of DTYPES', viewed where it can be.

    The view is of single bytes: its `len` is its size.
    """
    if array.dtype == object:
        return join_bytes(array.ravel())
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def from_binary(name: str, datatype: str, shape: tuple[int, ...], data: bytes | memoryview) -> NDArray[Any]:
    """The array of a checked datatype and shape that `data` holds: a read-only view of it, unless it is BYTES.

    Raises InvalidTensor when the size of `data` is not what datatype and shape say.
    """
    check_size(name, datatype, shape, len(data))
    if datatype == "BYTES":
        elements = np.empty(math.prod(shape), dtype=object)
        elements[:] = split_bytes(name, elements.size, data)
        return elements.reshape(shape)
    array = np.frombuffer(data, dtype=DTYPES[datatype]).reshape(shape)
    # A view into the middle of a body can start at any byte; kernels may assume alignment.
    return array if array.flags.aligned else array.copy()


def to_tensor(name: str, array: NDArray[Any]) -> Tensor:
    """An array as a tensor over its own memory; raises InvalidTensor for a dtype that cannot travel."""
    datatype = datatype_of(name, array)
    data = join_bytes(array.ravel()) if datatype == "BYTES" else np.ascontiguousarray(array)
    return Tensor(datatype, array.shape, data)


def from_tensor(name: str, tensor: Tensor) -> NDArray[Any]:
    """A tensor as an array over its memory."""
    return from_binary(name, tensor.datatype, tensor.shape, tensor.data)
