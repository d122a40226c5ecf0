"""Nested JSON lists to arrays of one datatype and back; never guesses what a value might have meant.

Lists are gathered as objects first: an array of numpy's own choosing would turn one long string among a million
short ones into terabytes, and 1 among booleans into True.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.codecs.binary import DTYPES
from runtime.errors import InvalidTensor
from runtime.tensor import MAX_ELEMENTS, MAX_RANK

_LEAVES: dict[str, frozenset[type]] = {
    "f": frozenset({int, float}),
    "i": frozenset({int, float}),
    "u": frozenset({int, float}),
    "b": frozenset({bool}),
    "O": frozenset({str}),
}
"""JSON types that each dtype kind takes."""

_NULL = frozenset({type(None)})

_WORDS = {"f": "numbers", "i": "integers", "u": "integers of 0 or more", "b": "booleans", "O": "strings"}


def from_nested(
    name: str, datatype: str, data: Any, *, max_elements: int = MAX_ELEMENTS, nulls: bool = False
) -> NDArray[Any]:
    """The array of a list of lists; raises InvalidTensor with the position of the first value that does not belong.

    Integers pass as floating point; floating point passes as an integer when it is integral. Strings become UTF-8
    BYTES. A number that the datatype cannot hold is refused. With `nulls`, null is NaN among floating point, as it is
    in outputs.
    """
    kind = DTYPES[datatype].kind
    if not isinstance(data, list):
        raise InvalidTensor(name, f"it is {_json_word(data)}", f"a list of {datatype}")
    try:
        objects = np.array(data, dtype=object)
    except ValueError:
        raise InvalidTensor(name, f"its lists are ragged at {_ragged(data)}", "lists of equal lengths") from None
    if objects.ndim > MAX_RANK or objects.size > max_elements:
        raise InvalidTensor(
            name, f"it has {objects.size} elements in {objects.ndim} axes", f"at most {max_elements} in {MAX_RANK}"
        )
    leaves = objects.ravel().tolist()
    foreign = set(map(type, leaves)) - _LEAVES[kind] - (_NULL if nulls and kind == "f" else set())
    if list in foreign:
        raise InvalidTensor(name, f"its lists are ragged at {_ragged(data)}", "lists of equal lengths")
    if foreign:
        flat = next(i for i, leaf in enumerate(leaves) if type(leaf) in foreign)
        raise InvalidTensor(
            name, f"element {_at(flat, objects.shape)} is {_json_word(leaves[flat])}", f"{_WORDS[kind]} for {datatype}"
        )
    return _convert(name, datatype, objects)


def to_nested(name: str, array: NDArray[Any]) -> Any:
    """An array as JSON-able lists, or as the array itself where orjson writes it directly (OPT_SERIALIZE_NUMPY).

    orjson writes FP32 by its shortest digits; `tolist` would spell out the binary64 expansion. BYTES become strings;
    raises InvalidTensor for BYTES that are not UTF-8.
    """
    if array.dtype != object:
        return np.ascontiguousarray(array)
    try:
        strings = [element.decode("utf-8") for element in array.ravel()]
    except UnicodeDecodeError:
        raise InvalidTensor(name, "it is not UTF-8", "a request for its binary form") from None
    return np.array(strings, dtype=object).reshape(array.shape).tolist()


def _convert(name: str, datatype: str, objects: NDArray[Any]) -> NDArray[Any]:
    dtype = DTYPES[datatype]
    if dtype.kind == "O":
        return _utf8(name, objects)
    if dtype.kind == "b":
        return objects.astype(dtype)
    try:
        if dtype.kind == "f":
            with np.errstate(over="ignore"):
                array = objects.astype(dtype)
            bad = np.isinf(array)
        else:
            _check_integral(name, datatype, objects)
            array, bad = objects.astype(dtype), np.zeros(0, dtype=bool)
    except OverflowError:
        raise InvalidTensor(name, "a number is out of range", f"what {datatype} can hold") from None
    if bad.any():
        at = _at(int(np.argmax(bad)), array.shape)
        raise InvalidTensor(name, f"element {at} is out of range", f"what {datatype} can hold")
    return array


def _check_integral(name: str, datatype: str, objects: NDArray[Any]) -> None:
    numbers = objects.astype(np.float64)
    limits = np.iinfo(DTYPES[datatype])
    # Beyond 2**53 binary64 rounds; a bound that rounds up is left to the exact conversion that follows.
    bad = (numbers != np.trunc(numbers)) | (numbers < float(limits.min)) | (numbers > float(limits.max))
    if bad.any():
        flat = int(np.argmax(bad))
        raise InvalidTensor(
            name, f"element {_at(flat, objects.shape)} is {objects.ravel()[flat]!r:.40}", f"integers for {datatype}"
        )


def _utf8(name: str, objects: NDArray[Any]) -> NDArray[Any]:
    array = np.empty(objects.size, dtype=object)
    try:
        array[:] = [string.encode("utf-8") for string in objects.ravel()]
    except UnicodeEncodeError:
        raise InvalidTensor(name, "it holds a lone surrogate", "strings that UTF-8 can hold") from None
    return array.reshape(objects.shape)


def _ragged(data: list[Any]) -> list[int]:
    """The index of the first list, breadth first, that is not as long as its first sibling."""
    level: list[Any] = [data]
    shape: tuple[int, ...] = ()
    while any(isinstance(item, list) for item in level):
        length = len(level[0]) if isinstance(level[0], list) else -1
        for i, item in enumerate(level):
            if (len(item) if isinstance(item, list) else -1) != length:
                return _at(i, shape)
        shape = (*shape, length)
        level = [leaf for item in level for leaf in item]
    return []


def _at(flat: int, shape: tuple[int, ...]) -> list[int]:
    """A flat, row-major index as one index per axis."""
    index: list[int] = []
    for extent in reversed(shape):
        flat, i = divmod(flat, extent)
        index.append(i)
    return index[::-1]


def _json_word(value: Any) -> str:
    words = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return words.get(type(value), f"{value!r:.40}")
