"""Tensors between gateway and worker: JSON-able dicts whose data is base64 of the binary form; never checks meaning.

One tensor is `{"name", "datatype", "shape", "data"}`. Base64 costs a third more than the bytes and travels through
any Lambda payload. The worker packs and unpacks tensors without numpy; `encode` and `decode` are for arrays.
"""

from __future__ import annotations

import binascii
import math
from collections.abc import Mapping

from registry.typed import TYPE_CHECKING, Any
from runtime.errors import InvalidBody, InvalidTensor
from runtime.tensor import SIZES, Tensor, check_datatype, check_extents, check_size

if TYPE_CHECKING:
    from numpy.typing import NDArray


def encode(tensors: Mapping[str, NDArray[Any]]) -> list[dict[str, Any]]:
    """Arrays as JSON-able dicts; raises InvalidTensor for a dtype that cannot travel."""
    from runtime.codecs.binary import to_tensor  # noqa: PLC0415 - see the module's first lines

    return pack({name: to_tensor(name, array) for name, array in tensors.items()})


def decode(documents: Any) -> dict[str, NDArray[Any]]:
    """The arrays of such dicts, read-only; raises InvalidBody or InvalidTensor as `unpack` does."""
    from runtime.codecs.binary import from_tensor  # noqa: PLC0415 - see the module's first lines

    return {name: from_tensor(name, tensor) for name, tensor in unpack(documents).items()}


def pack(tensors: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """Tensors as JSON-able dicts."""
    return [
        {
            "name": name,
            "datatype": tensor.datatype,
            "shape": list(tensor.shape),
            "data": binascii.b2a_base64(tensor.data, newline=False).decode("ascii"),
        }
        for name, tensor in tensors.items()
    ]


def unpack(documents: Any) -> dict[str, Tensor]:
    """The tensors of such dicts; raises InvalidBody or InvalidTensor.

    Sizes are checked against datatype and shape before base64 is decoded.
    """
    if not isinstance(documents, list | tuple):
        raise InvalidBody("tensors must be a list of objects")
    tensors: dict[str, Tensor] = {}
    for document in documents:
        name, tensor = _tensor(document)
        if name in tensors:
            raise InvalidTensor(name, "it is given twice", "one tensor of each name")
        tensors[name] = tensor
    return tensors


def _tensor(document: Any) -> tuple[str, Tensor]:
    try:
        name, data, shape = document["name"], document["data"], document["shape"]
        datatype = document["datatype"]
    except (TypeError, KeyError, IndexError):
        raise InvalidBody("a tensor needs name, datatype, shape and data") from None
    if not isinstance(name, str) or not isinstance(data, str):
        raise InvalidBody("a tensor's name and data must be strings")
    datatype, extents = check_datatype(name, datatype), check_extents(name, shape)
    if datatype != "BYTES" and len(data) > 4 * (math.prod(extents) * SIZES[datatype] // 3 + 1):
        raise InvalidTensor(name, f"it carries {len(data)} characters of base64", f"{datatype} {list(extents)}")
    try:
        raw = binascii.a2b_base64(data, strict_mode=True)
    except ValueError as error:
        raise InvalidTensor(name, f"its data is not base64 ({error})", "base64 of the binary form") from None
    check_size(name, datatype, extents, len(raw))
    return name, Tensor(datatype, extents, raw)
