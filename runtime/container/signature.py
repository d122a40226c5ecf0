"""What a model takes and gives, and whether a request is that; on every request's path, and it repairs nothing.

The rules are those of `runtime.codecs.tensors`, for graphs rather than tasks: an input may be a scalar, and what a
graph says of itself forbids no NaN.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.codecs.binary import DTYPES
from runtime.errors import InvalidTensor
from runtime.tensor import MAX_ELEMENTS

Inputs = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output; a shape of -1 is any extent, and a scalar has no shape."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    finite: bool = False
    """Whether NaN and infinities are refused."""
    dtype: np.dtype[Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", DTYPES[self.datatype])

    @property
    def batched(self) -> bool:
        """Whether its first extent is the number of rows."""
        return self.shape[:1] == (-1,)

    @property
    def fixed(self) -> bool:
        """Whether a row is of one size in bytes, known beforehand."""
        return self.batched and -1 not in self.shape[1:] and self.datatype != "BYTES"

    @property
    def document(self) -> dict[str, Any]:
        """As the protocol's metadata has it."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}

    def __str__(self) -> str:
        return f"{self.datatype} {list(self.shape)}"


class Signature:
    """The inputs and outputs of a model."""

    __slots__ = ("_rows_of", "_single", "inputs", "outputs")

    def __init__(self, inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self._rows_of = next((port for port in inputs if port.batched), None)
        # Most models take one tensor of fixed rows; then nothing but its extents is left to be looked at.
        plain = len(inputs) == 1 and inputs[0].fixed and not inputs[0].finite
        self._single = (inputs[0].name, inputs[0].dtype, inputs[0].shape[1:]) if plain else None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Signature) and (self.inputs, self.outputs) == (other.inputs, other.outputs)

    def __hash__(self) -> int:
        return hash((self.inputs, self.outputs))

    @property
    def fixed(self) -> bool:
        """Whether every row is of one size, so that runs of as many rows are alike."""
        return all(port.fixed for port in self.inputs)

    @property
    def batched(self) -> bool:
        """Whether rows of several requests could be put together: every input is of rows."""
        return bool(self.inputs) and all(port.batched for port in self.inputs)

    def check(self, inputs: Inputs) -> tuple[int, Hashable]:
        """The number of rows of inputs that are what the signature says, and what rows of other requests must share.

        Raises InvalidTensor naming the first tensor that is not: a missing or unknown name, another datatype, rank or
        extent, no rows, too many elements, NaN where none may be, BYTES that are not UTF-8, or rows that disagree.
        """
        if self._single is not None and len(inputs) == 1:
            name, dtype, row = self._single
            array = inputs.get(name)
            if array is not None and array.dtype == dtype and array.shape[1:] == row and array.ndim > len(row):
                rows = array.shape[0]
                if rows and array.size <= MAX_ELEMENTS:
                    return rows, None
        return self._checked(inputs)

    def _checked(self, inputs: Inputs) -> tuple[int, Hashable]:
        self._check_names(inputs)
        for port in self.inputs:
            _check(port, inputs[port.name])
        if self._rows_of is None:
            return 1, None
        first = self._rows_of
        rows = inputs[first.name].shape[0]
        for port in self.inputs:
            if port.batched and inputs[port.name].shape[0] != rows:
                raise InvalidTensor(
                    port.name, f"it has {inputs[port.name].shape[0]} rows", f"{rows} rows, as {first.name} has"
                )
        return rows, tuple(inputs[port.name].shape[1:] for port in self.inputs)

    def _check_names(self, inputs: Inputs) -> None:
        names = [port.name for port in self.inputs]
        for name in inputs:
            if name not in names:
                raise InvalidTensor(name[:80], "the model has no such input", f"one of {sorted(names)}")
        for port in self.inputs:
            if port.name not in inputs:
                raise InvalidTensor(port.name, "it is missing", str(port))


def _check(port: Port, array: NDArray[Any]) -> None:
    if array.dtype != port.dtype:
        raise InvalidTensor(port.name, f"its dtype is {array.dtype}", str(port))
    if array.ndim != len(port.shape):
        raise InvalidTensor(port.name, f"its rank is {array.ndim}", f"rank {len(port.shape)}: {port}")
    if any(want not in (-1, got) for want, got in zip(port.shape, array.shape, strict=True)) or 0 in array.shape:
        raise InvalidTensor(port.name, f"its shape is {list(array.shape)}", f"{port}, no extent 0")
    if array.size > MAX_ELEMENTS:
        raise InvalidTensor(port.name, f"it has {array.size} elements", f"at most {MAX_ELEMENTS}")
    if port.finite and array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InvalidTensor(port.name, "an element is NaN or infinite", "finite numbers")
    if array.dtype.kind == "O":
        _check_text(port, array)


def _check_text(port: Port, array: NDArray[Any]) -> None:
    for i, element in enumerate(array.ravel()):
        try:
            element.decode("utf-8")
        except UnicodeDecodeError:
            # ONNX strings are UTF-8 (ONNX IR specification, "Tensor element types").
            raise InvalidTensor(port.name, f"element {i} is not UTF-8", "UTF-8 text") from None
