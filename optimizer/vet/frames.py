"""What travels between a sandbox and whoever started it: a short header and a model; never an object of code."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass

from optimizer.errors import ModelRefused, Reason

MAX_HEADER = 1 << 16
"""Bytes; a reason and a line of text are a few hundred."""

_LENGTHS = struct.Struct(">IQ")
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one model."""

    reason: Reason | None
    """None: it may be registered."""
    detail: str = ""
    rewritten: bytes = b""
    """The model to register instead; empty when its own bytes will do."""

    def judge(self, model: bytes) -> bytes | ModelRefused:
        """The model to register, or why not."""
        return ModelRefused(self.reason, self.detail) if self.reason is not None else self.rewritten or model


def write_verdict(fd: int, verdict: Verdict) -> None:
    """Write one frame; raises OSError."""
    header = json.dumps({"reason": verdict.reason, "detail": verdict.detail[:1000]}).encode()
    _write(fd, _LENGTHS.pack(len(header), len(verdict.rewritten)) + header)
    _write(fd, verdict.rewritten)


def read_verdict(fd: int, limit: int) -> Verdict | None:
    """One frame, or None when the stream ends before it does or it is not one, or is of more than `limit` bytes."""
    try:
        header_bytes, payload_bytes = _LENGTHS.unpack(read_exactly(fd, _LENGTHS.size))
        if header_bytes > MAX_HEADER or payload_bytes > limit:
            return None
        header = json.loads(read_exactly(fd, header_bytes))
        reason = None if header["reason"] is None else Reason(header["reason"])
        return Verdict(reason, str(header["detail"]), read_exactly(fd, payload_bytes))
    except (EOFError, ValueError, KeyError, TypeError):
        return None


def write_model(fd: int, model: bytes) -> None:
    """Write a model with its length before it; raises OSError."""
    _write(fd, _LENGTHS.pack(0, len(model)))
    _write(fd, model)


def read_model(fd: int) -> bytes:
    """The next model; raises EOFError when there is none."""
    _, size = _LENGTHS.unpack(read_exactly(fd, _LENGTHS.size))
    return read_exactly(fd, size)


def read_exactly(fd: int, size: int) -> bytes:
    """`size` bytes; raises EOFError when the stream ends before."""
    chunks, left = [], size
    while left:
        chunk = os.read(fd, min(left, _CHUNK))
        if not chunk:
            raise EOFError
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view[:_CHUNK]) :]
