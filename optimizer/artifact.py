"""A model's bytes to an artifact: optimised once, weights moved out to shared blobs; never changes what it computes."""

from __future__ import annotations

from enum import StrEnum

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]
from onnx import ModelProto, TensorProto, numpy_helper

from optimizer.generate import compile_
from optimizer.vet.walk import walk
from registry.artifacts import TensorBlob, write_artifact
from registry.blobs import Blobs, blob_name
from registry.errors import InvalidValue

MAX_MODEL_BYTES = 1 << 30
"""Largest source model: half of protobuf's 2 GiB limit, as optimisation holds several copies."""

EXTERNAL_FROM_BYTES = 1024
"""Initializers from this size on become blobs; a smaller one costs more to map than to copy."""

_PLAIN = frozenset(
    {
        TensorProto.FLOAT,
        TensorProto.DOUBLE,
        TensorProto.FLOAT16,
        TensorProto.BOOL,
        TensorProto.INT8,
        TensorProto.INT16,
        TensorProto.INT32,
        TensorProto.INT64,
        TensorProto.UINT8,
        TensorProto.UINT16,
        TensorProto.UINT32,
        TensorProto.UINT64,
    }
)
"""Element types whose bytes in a file are those in memory."""


class Optimise(StrEnum):
    """When a model's graph is optimised."""

    NOW = "now"
    """As the artifact is made, for any CPU: what loads is final."""
    AT_LOAD = "at-load"
    """Whenever it is loaded, for the CPU that loads it."""
    NEVER = "never"
    """Its bytes are final already."""


def make_artifact(model: bytes, blobs: Blobs, *, optimise: Optimise = Optimise.NOW) -> str:
    """The digest of the artifact that computes what an ONNX model computes, written to `blobs`.

    Initializers of 1 KiB or more become blobs of their own, mapped and shared by whoever holds the same tensor; those
    of subgraphs stay inside. The same bytes give the same digest under one onnxruntime version. Raises InvalidValue
    for a model that is too large, broken, refers to external data, or has inputs or outputs other than dense tensors;
    whether onnxruntime can load it shows here where it is optimised NOW, and otherwise when it is loaded.
    """
    proto = check(model)
    if optimise is Optimise.NOW:
        proto = onnx.load_from_string(compile_.optimise(model))
    tensors = [_externalise(tensor, blobs) for tensor in proto.graph.initializer if _is_large(tensor)]
    graph = proto.SerializeToString(deterministic=True)
    return write_artifact(blobs, graph, tensors, optimised=optimise is not Optimise.AT_LOAD)


def check(model: bytes) -> ModelProto:
    """The parsed model, once it is known to be acceptable; raises InvalidValue."""
    if len(model) > MAX_MODEL_BYTES:
        raise InvalidValue("model", f"{len(model)} bytes are too many", f"give at most {MAX_MODEL_BYTES}")
    try:
        proto = onnx.load_from_string(model)
    except DecodeError:
        raise InvalidValue("model", "these bytes are not ONNX", "give a serialised ModelProto") from None
    for tensor in (message for message, _ in walk(proto) if isinstance(message, TensorProto)):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise InvalidValue("model", f"tensor {tensor.name!r} is external", "save the weights inside the model")
    for value in (*proto.graph.input, *proto.graph.output):
        if value.type.WhichOneof("value") != "tensor_type":
            raise InvalidValue(
                "model", f"{value.name!r} is no dense tensor", "export with dense tensors only (skl2onnx: zipmap=False)"
            )
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as fault:
        raise InvalidValue("model", " ".join(str(fault).split())[:300], "export a valid model") from None
    return proto


def _is_large(tensor: TensorProto) -> bool:
    return tensor.data_type in _PLAIN and numpy_helper.to_array(tensor).nbytes >= EXTERNAL_FROM_BYTES


def _externalise(tensor: TensorProto, blobs: Blobs) -> TensorBlob:
    data = numpy_helper.to_array(tensor).tobytes()
    digest = blobs.put(data)
    for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
        tensor.ClearField(field)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", blob_name(digest)), ("offset", "0"), ("length", str(len(data)))):
        tensor.external_data.add(key=key, value=value)
    return TensorBlob(tensor.name, digest, len(data))
