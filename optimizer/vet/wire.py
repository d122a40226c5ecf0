"""How deep protobuf messages lie within one another, read from their bytes; for those that protobuf refuses to read."""

from __future__ import annotations

DEEPEST = 100
"""Messages within messages that protobuf reads (its default recursion limit, in every release and language)."""

_VARINT, _I64, _LEN, _I32 = 0, 1, 2, 5
_FIXED = {_I64: 8, _I32: 4}


def too_deep(message: bytes) -> bool:
    """Whether more messages than protobuf reads lie within these bytes, along the longest field of each.

    Protobuf itself tells that apart from other damage since release 7 only.
    """
    view: memoryview | None = memoryview(message)
    for _ in range(DEEPEST + 1):
        if view is None:
            return False
        view = _longest(view)
    return view is not None


def _longest(message: memoryview) -> memoryview | None:
    """The longest field of bytes in a message; None where there is none, or where these are no message's bytes."""
    longest, at = None, 0
    try:
        while at < len(message):
            tag, at = _varint(message, at)
            kind, size = tag & 7, 0
            if kind in (_VARINT, _LEN):
                size, at = _varint(message, at)
            if kind == _LEN and at + size <= len(message) and size > len(longest or b""):
                longest = message[at : at + size]
            at += _FIXED.get(kind, size if kind == _LEN else 0)
            if kind not in (_VARINT, _LEN, *_FIXED) or not tag >> 3 or at > len(message):
                return None
    except IndexError:
        return None
    return longest


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number and where it ends; raises IndexError where the bytes end first, or the number does not."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise IndexError
