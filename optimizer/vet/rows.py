"""Inputs to try a model on, and whether the answers of two runs agree; never runs a model itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.codecs.binary import DTYPES

TOLERANCE = 0.02
"""Of an output's largest number: dynamic int8 takes its scale from the whole batch, in steps of 1/255 of the range, and
a few of those add up; a softmax or a mean over rows moves answers by a tenth and more when half of the rows change."""

SHARE = 0.25
"""Of the numbers that may differ by more, as labels that were nearly tied do."""

WORDS = (b"the", b"cat", b"sat", b"on", b"a", b"Mat", b"NEAR", b"\xc3\x89cole", b"42")

Array = NDArray[Any]


def random(datatype: str, shape: tuple[int, ...], generator: np.random.Generator, below: int = 10) -> Array:
    """Numbers of ordinary size: normal ones, integers from 0 to less than `below`, truths, words."""
    if datatype == "BYTES":
        return _texts(shape, [b" ".join(generator.choice(WORDS, 3)) for _ in range(max(int(np.prod(shape)), 1))])
    dtype = DTYPES[datatype]
    if dtype.kind == "f":
        return generator.normal(size=shape).astype(dtype)
    return generator.integers(0, 2 if dtype.kind == "b" else below, size=shape).astype(dtype)


def constant(datatype: str, shape: tuple[int, ...], edge: str) -> Array:
    """The same everywhere: `zeros`, `ones`, `least`, `most`, `nan` or `infinite`, or what comes nearest to it."""
    if datatype == "BYTES":
        texts = {"zeros": b"", "ones": b"1", "least": b"\x00", "most": b"x" * 10_000, "nan": b"\xff\xfe\x80"}
        return _texts(shape, [texts.get(edge, "Ünïcode \U0001f600".encode())] * int(np.prod(shape)))
    dtype = DTYPES[datatype]
    return np.full(shape, _number(dtype, edge), dtype)


def agree(one: Array, other: Array) -> bool:
    """Whether two runs gave the same answers but for rounding and near ties."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not one.size:
        return True
    if one.dtype.kind != "f":
        return bool(np.mean(one != other) <= SHARE)
    a, b = one.astype(np.float64), other.astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    scale = np.max(np.abs(np.where(finite, [a, b], 0.0)))
    with np.errstate(invalid="ignore"):
        off = np.where(finite, np.abs(a - b) > TOLERANCE * scale, ~((a == b) | (np.isnan(a) & np.isnan(b))))
    return bool(np.mean(off) <= SHARE)


def equal(one: Array, other: Array) -> bool:
    """Whether two runs gave the very same bytes."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(np.all(one == other)) if one.dtype == object else one.tobytes() == other.tobytes()


def _number(dtype: np.dtype[Any], edge: str) -> Any:
    if dtype.kind == "f":
        finfo = np.finfo(dtype)
        return {"zeros": 0, "ones": 1, "least": finfo.min, "most": finfo.max, "nan": np.nan, "infinite": np.inf}[edge]
    if dtype.kind == "b":
        return edge not in ("zeros", "least")
    info = np.iinfo(dtype)
    # What takes a number for a size fails at once on the largest; on the largest of 32 bits it tries.
    sizes = {"nan": max(-1, int(info.min)), "infinite": min(int(info.max), 2**31 - 1)}
    return {"zeros": 0, "ones": 1, "least": info.min, "most": info.max, **sizes}[edge]


def _texts(shape: tuple[int, ...], texts: list[bytes]) -> Array:
    array = np.empty(int(np.prod(shape)), dtype=object)
    array[:] = texts[: array.size]
    return array.reshape(shape)
