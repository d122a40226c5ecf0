"""Tensors against a task's signature: what a caller sent is checked once, here; never repaired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.model import TensorSpec
from runtime.codecs.binary import DTYPES
from runtime.errors import InvalidTensor
from runtime.tensor import MAX_ELEMENTS


def check_inputs(
    specs: Sequence[TensorSpec], tensors: Mapping[str, NDArray[Any]], *, max_elements: int = MAX_ELEMENTS
) -> int:
    """The number of rows of inputs that are what a signature says.

    Raises InvalidTensor naming the first tensor that is not, for: a missing or unknown name, another dtype, rank or
    extent, no rows, too many elements, NaN or infinities where the signature wants finite numbers, BYTES that are not
    UTF-8, and inputs that disagree on the number of rows.
    """
    _check_names(specs, tensors)
    for spec in specs:
        _check(spec, tensors[spec.name], max_elements)
    first = specs[0]
    rows = int(tensors[first.name].shape[0])
    for spec in specs[1:]:
        # An input whose first extent is fixed is not batched; it may be as long as it likes.
        if spec.shape[0] == first.shape[0] == -1 and tensors[spec.name].shape[0] != rows:
            raise InvalidTensor(
                spec.name, f"it has {tensors[spec.name].shape[0]} rows", f"{rows} rows, as {first.name} has"
            )
    return rows


def expectation(spec: TensorSpec) -> str:
    """A signature's tensor in words, as error messages give it."""
    return f"{spec.datatype} {list(spec.shape)}"


def _check_names(specs: Sequence[TensorSpec], tensors: Mapping[str, NDArray[Any]]) -> None:
    names = {spec.name for spec in specs}
    for name in tensors:
        if name not in names:
            raise InvalidTensor(name[:80], "the task has no such input", f"one of {sorted(names)}")
    for spec in specs:
        if spec.name not in tensors:
            raise InvalidTensor(spec.name, "it is missing", expectation(spec))


def _check(spec: TensorSpec, array: NDArray[Any], max_elements: int) -> None:
    if array.dtype != DTYPES[spec.datatype]:
        raise InvalidTensor(spec.name, f"its dtype is {array.dtype}", expectation(spec))
    if array.ndim != len(spec.shape):
        raise InvalidTensor(spec.name, f"its rank is {array.ndim}", f"rank {len(spec.shape)}: {expectation(spec)}")
    if any(want not in (-1, got) for want, got in zip(spec.shape, array.shape, strict=True)) or 0 in array.shape:
        raise InvalidTensor(spec.name, f"its shape is {list(array.shape)}", f"{expectation(spec)}, no extent 0")
    if array.size > max_elements:
        raise InvalidTensor(spec.name, f"it has {array.size} elements", f"at most {max_elements}")
    if array.dtype.kind == "f":
        _check_finite(spec, array)
    elif array.dtype.kind == "O":
        _check_strings(spec, array)


def _check_finite(spec: TensorSpec, array: NDArray[Any]) -> None:
    if not spec.finite:
        return
    finite = np.isfinite(array)
    if not finite.all():
        at = _position(array, int(np.argmin(finite)))
        raise InvalidTensor(spec.name, f"element {at} is NaN or infinite", "finite numbers")


def _check_strings(spec: TensorSpec, array: NDArray[Any]) -> None:
    for i, element in enumerate(array.ravel()):
        if not isinstance(element, bytes):
            raise InvalidTensor(spec.name, f"element {_position(array, i)} is no bytes", "BYTES")
        try:
            element.decode("utf-8")
        except UnicodeDecodeError:
            # ONNX strings are UTF-8 (ONNX IR specification, "Tensor element types").
            raise InvalidTensor(spec.name, f"element {_position(array, i)} is not UTF-8", "UTF-8 text") from None


def _position(array: NDArray[Any], flat: int) -> list[int]:
    return [int(i) for i in np.unravel_index(flat, array.shape)]
