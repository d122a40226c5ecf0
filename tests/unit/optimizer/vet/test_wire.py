"""Depth is read from bytes, and what are no messages are not deep."""

from __future__ import annotations

import os

import pytest

from optimizer.vet.wire import DEEPEST, too_deep


def nested(depth: int, before: bytes = b"") -> bytes:
    """A message with so many within one another; `before` precedes each."""
    message = b""
    for _ in range(depth):
        size, length = len(message), b""
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        message = before + b"\x0a" + length + bytes([size]) + message
    return message


@pytest.mark.parametrize("before", [b"", b"\x10\x05", b"\x11" + bytes(8), b"\x15" + bytes(4)])
def test_only_what_protobuf_does_not_read_is_too_deep(before: bytes) -> None:
    assert not too_deep(nested(DEEPEST, before))
    assert too_deep(nested(DEEPEST + 3, before))


@pytest.mark.parametrize(
    "message",
    [b"", b"\x0a", b"\x0a\x05ab", b"\x07", b"\x00\x01", b"\xff" * 40, b"\x11\x01", b"\x0b\x0c"],
)
def test_damaged_bytes_are_not_deep(message: bytes) -> None:
    assert not too_deep(message)


def test_random_bytes_end() -> None:
    for size in (1, 10, 1000, 100_000):
        assert not too_deep(os.urandom(size))
