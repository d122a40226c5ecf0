"""JSON text in and out, arrays included; never anything but JSON."""

from __future__ import annotations

from typing import Any

import orjson

from runtime.errors import InvalidBody


def loads(body: bytes | bytearray | memoryview) -> Any:
    """The value of a JSON text; raises InvalidBody saying where it breaks off."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as fault:
        raise InvalidBody(f"the body is not JSON: {fault}") from None


def raw(text: bytes) -> orjson.Fragment:
    """A JSON text as a value of another, which `dumps` writes as it is."""
    return orjson.Fragment(text)


def dumps(value: Any) -> bytes:
    """The JSON text of a value that may hold numpy arrays; NaN and infinities become null."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
