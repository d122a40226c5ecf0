"""Counts, names, nesting and tensors of a parsed model against the caps; never runs anything."""

from __future__ import annotations

import math
from collections.abc import Mapping

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from onnx import GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto, helper

from optimizer.errors import ModelRefused, Reason
from optimizer.vet.caps import Caps
from optimizer.vet.walk import walk

_FREE_TEXT = frozenset({"doc_string", "value"})
"""String fields that name nothing: documentation, and the values of metadata."""

BITS: Mapping[int, int] = {
    TensorProto.FLOAT: 32,
    TensorProto.UINT8: 8,
    TensorProto.INT8: 8,
    TensorProto.UINT16: 16,
    TensorProto.INT16: 16,
    TensorProto.INT32: 32,
    TensorProto.INT64: 64,
    TensorProto.BOOL: 8,
    TensorProto.FLOAT16: 16,
    TensorProto.DOUBLE: 64,
    TensorProto.UINT32: 32,
    TensorProto.UINT64: 64,
    TensorProto.COMPLEX64: 64,
    TensorProto.COMPLEX128: 128,
    TensorProto.BFLOAT16: 16,
    TensorProto.FLOAT8E4M3FN: 8,
    TensorProto.FLOAT8E4M3FNUZ: 8,
    TensorProto.FLOAT8E5M2: 8,
    TensorProto.FLOAT8E5M2FNUZ: 8,
    TensorProto.UINT4: 4,
    TensorProto.INT4: 4,
    TensorProto.FLOAT4E2M1: 4,
    TensorProto.FLOAT8E8M0: 8,
    TensorProto.UINT2: 2,
    TensorProto.INT2: 2,
}
"""Bits of one element, of the types that have a size (onnx.proto, TensorProto.DataType)."""


def check_structure(model: ModelProto, caps: Caps) -> None:
    """Raise ModelRefused unless every part of the model is within the caps and every tensor holds its own data."""
    nodes = tensors = 0
    for message, depth in walk(model):
        _check_texts(message, caps)
        if isinstance(message, NodeProto):
            nodes += 1
        elif isinstance(message, TensorProto):
            tensors += 1
            check_tensor(message, caps)
        elif isinstance(message, SparseTensorProto):
            _check_sparse(message, caps)
        elif isinstance(message, GraphProto) and depth > caps.depth:
            raise ModelRefused(Reason.TOO_DEEP, f"graphs lie within graphs more than {caps.depth} deep")
        if nodes > caps.nodes:
            raise ModelRefused(Reason.TOO_MANY_NODES, f"it has more than {caps.nodes} nodes")
        if tensors > caps.tensors:
            raise ModelRefused(Reason.TOO_MANY_TENSORS, f"it has more than {caps.tensors} initializers and constants")


def check_tensor(tensor: TensorProto, caps: Caps) -> None:
    """Raise ModelRefused unless the tensor's data is inside the model, and as much as its type and extents say."""
    name = tensor.name[:80]
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise ModelRefused(Reason.EXTERNAL_DATA, f"the data of tensor {name!r} lies outside the model")
    elements = _elements(f"tensor {name!r}", tensor.dims, caps)
    if tensor.data_type == TensorProto.STRING:
        wanted, held = elements, len(tensor.string_data)
    elif tensor.data_type not in BITS:
        raise ModelRefused(Reason.BAD_TENSOR, f"tensor {name!r} is of the unknown type {tensor.data_type}")
    elif tensor.HasField("raw_data"):
        wanted, held = math.ceil(elements * BITS[tensor.data_type] / 8), len(tensor.raw_data)
    else:
        field = helper.tensor_dtype_to_field(tensor.data_type)
        wanted, held = _typed_length(tensor.data_type, elements), len(getattr(tensor, field))
    if held != wanted:
        kind = "bytes" if tensor.HasField("raw_data") else "numbers"
        raise ModelRefused(
            Reason.BAD_TENSOR, f"tensor {name!r} of extents {list(tensor.dims)} needs {wanted} {kind} and holds {held}"
        )


def _typed_length(data_type: int, elements: int) -> int:
    """Numbers in a tensor's typed field (onnx.proto): a complex one takes two, and small ones share an int32."""
    if data_type in (TensorProto.COMPLEX64, TensorProto.COMPLEX128):
        return 2 * elements
    return math.ceil(elements * BITS[data_type] / 8) if BITS[data_type] < 8 else elements


def _elements(what: str, dims: object, caps: Caps) -> int:
    extents = list(dims)  # type: ignore[call-overload]
    if len(extents) > caps.rank:
        raise ModelRefused(Reason.BAD_TENSOR, f"{what} has {len(extents)} axes, more than {caps.rank}")
    if any(extent < 0 for extent in extents):
        raise ModelRefused(Reason.BAD_TENSOR, f"{what} has a negative extent: {extents}")
    return math.prod(extents)


def _check_sparse(sparse: SparseTensorProto, caps: Caps) -> None:
    # ONNX Runtime makes sparse initializers dense when it loads them: a few bytes can ask for any amount of memory.
    name = sparse.values.name[:80]
    size = _elements(f"sparse tensor {name!r}", sparse.dims, caps) * BITS.get(sparse.values.data_type, 64) // 8
    if size > caps.tensor_bytes:
        raise ModelRefused(
            Reason.TENSOR_TOO_LARGE,
            f"sparse tensor {name!r} is of {size} bytes when dense, more than {caps.tensor_bytes}",
        )


def _check_texts(message: Message, caps: Caps) -> None:
    for field, value in message.ListFields():
        if field.type != FieldDescriptor.TYPE_STRING:
            continue
        for text in (value,) if isinstance(value, str | bytes) else value:
            # Protobuf hands over as bytes what is not UTF-8; onnx's own code takes for granted that all is.
            if not isinstance(text, str):
                raise ModelRefused(Reason.INVALID_GRAPH, f"a {field.full_name} is not UTF-8: {bytes(text[:40])!r}")
            if len(text) > caps.name_bytes and field.name not in _FREE_TEXT:
                raise ModelRefused(
                    Reason.NAME_TOO_LONG, f"a {field.full_name} is longer than {caps.name_bytes}: {text[:40]!r}…"
                )
