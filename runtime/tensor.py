"""A tensor as it travels: datatype, shape and bytes; never needs numpy, which a worker's cold start cannot afford.

The bytes are the Open Inference Protocol's binary form: numbers little-endian and row-major, each BYTES element a
4-byte little-endian length followed by its bytes (protocol v2, "Binary Tensor Data Extension").
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping

from registry.typed import Any, NamedTuple
from runtime.errors import InvalidTensor

SIZES: Mapping[str, int] = {
    "BOOL": 1,
    "UINT8": 1,
    "UINT16": 2,
    "UINT32": 4,
    "UINT64": 8,
    "INT8": 1,
    "INT16": 2,
    "INT32": 4,
    "INT64": 8,
    "FP16": 2,
    "FP32": 4,
    "FP64": 8,
    "BYTES": 0,
}
"""Bytes of one element by datatype; BYTES elements bring their own lengths."""

MAX_ELEMENTS = 1 << 24
"""Most elements of one tensor: 64 MiB as FP32, ten times what a 6 MB invocation can carry."""

MAX_STRINGS = 1 << 20
"""Most BYTES elements of one tensor that is sent: each is an object of 40 bytes and more, decoded before anybody knows
what it is for."""

MAX_RANK = 16
"""Most axes of one tensor; numpy itself stops at 64."""

_LENGTH = struct.Struct("<I")


class Tensor(NamedTuple):
    """A tensor; `data` is anything with one contiguous buffer: bytes, a memoryview, an array."""

    datatype: str
    shape: tuple[int, ...]
    data: Any


def check_extents(name: str, shape: Any, *, max_elements: int = MAX_ELEMENTS) -> tuple[int, ...]:
    """A shape as it came from outside, once it is known to be harmless; raises InvalidTensor.

    Extents are non-negative integers; their product is computed without overflow and is at most `max_elements`.
    """
    if not isinstance(shape, list | tuple):
        raise InvalidTensor(name, "its shape is not a list", "a list of extents")
    if len(shape) > MAX_RANK:
        raise InvalidTensor(name, f"it has {len(shape)} axes", f"at most {MAX_RANK}")
    for extent in shape:
        # An extent is bounded on its own too: beside a 0, the product says nothing about it.
        if type(extent) is not int or not 0 <= extent <= max_elements:
            raise InvalidTensor(name, f"its shape holds {extent!r:.40}", f"integers from 0 to {max_elements}")
    if math.prod(shape) > max_elements:
        raise InvalidTensor(name, f"its shape {list(shape)} is too large", f"at most {max_elements} elements")
    return tuple(shape)


def check_datatype(name: str, datatype: Any) -> str:
    """A datatype as it came from outside; raises InvalidTensor for an unknown one."""
    if not isinstance(datatype, str) or datatype not in SIZES:
        raise InvalidTensor(name, f"datatype {datatype!r:.40} is unknown", f"one of {sorted(SIZES)}")
    return datatype


def most_elements(datatype: str) -> int:
    """Most elements that a tensor of this datatype may be sent with."""
    return MAX_STRINGS if datatype == "BYTES" else MAX_ELEMENTS


def check_size(name: str, datatype: str, shape: tuple[int, ...], size: int) -> None:
    """Raise InvalidTensor unless `size` bytes are what a checked datatype and shape need.

    BYTES need at least one length each; `split_bytes` checks the rest.
    """
    count = math.prod(shape)
    if datatype == "BYTES":
        if size < count * _LENGTH.size:
            raise InvalidTensor(name, f"it carries {size} bytes", f"at least {count * _LENGTH.size} for {count} BYTES")
    elif size != count * SIZES[datatype]:
        raise InvalidTensor(name, f"it carries {size} bytes", f"{count * SIZES[datatype]} for {datatype} {list(shape)}")


def join_bytes(elements: Iterable[bytes]) -> bytes:
    """The binary form of BYTES elements."""
    parts: list[bytes] = []
    for element in elements:
        parts += (_LENGTH.pack(len(element)), element)
    return b"".join(parts)


def split_bytes(name: str, count: int, data: bytes | memoryview) -> list[bytes]:
    """The `count` BYTES elements of their binary form; raises InvalidTensor unless they fill it exactly."""
    elements: list[bytes] = []
    at, end = 0, len(data)
    for i in range(count):
        start = at + _LENGTH.size
        if start > end:
            raise InvalidTensor(name, f"it ends before element {i}", f"{count} BYTES elements")
        at = start + _LENGTH.unpack_from(data, at)[0]
        if at > end:
            raise InvalidTensor(name, f"element {i} ends after the data", "lengths that fit")
        elements.append(bytes(data[start:at]))
    if at != end:
        raise InvalidTensor(name, f"{end - at} bytes follow the last element", f"{count} BYTES elements")
    return elements
