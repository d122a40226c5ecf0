"""All checks of one model, cheap ones first; runs in a sandbox's process and never elsewhere."""

from __future__ import annotations

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]
from onnx import ModelProto

from optimizer.errors import ModelRefused, Reason
from optimizer.vet.caps import Caps, Extents
from optimizer.vet.graph import check_graph
from optimizer.vet.locales import make_portable
from optimizer.vet.operators import check_operators
from optimizer.vet.probe import probe
from optimizer.vet.signature import check_signature
from optimizer.vet.structure import check_structure
from optimizer.vet.wire import too_deep
from optimizer.vet.zipmaps import make_dense


def examine(model: bytes, caps: Caps, extents: Extents) -> bytes:
    """The model to register: its own bytes, or what they are rewritten to; raises ModelRefused or MemoryError."""
    proto = parse(model)
    check_structure(proto, caps)
    check_operators(proto, caps)
    dense = make_dense(proto)
    check_signature(proto, caps)
    check_graph(proto, caps)
    rewritten = make_portable(proto) or dense
    accepted = proto.SerializeToString(deterministic=True) if rewritten else model
    del proto  # loading needs its room
    probe(accepted, caps, extents)
    return accepted


def parse(model: bytes) -> ModelProto:
    """The message that the bytes hold; raises ModelRefused."""
    try:
        proto = onnx.load_from_string(model)
    except DecodeError:
        if too_deep(model):
            raise ModelRefused(Reason.TOO_DEEP, "messages lie within messages deeper than protobuf reads") from None
        raise ModelRefused(Reason.NOT_ONNX, "these bytes are not ONNX") from None
    # Protobuf reads anything, the empty string included, as a message with fields that it does not know.
    if not proto.HasField("graph"):
        raise ModelRefused(Reason.NOT_ONNX, "these bytes hold no graph")
    if proto.training_info:
        raise ModelRefused(Reason.INVALID_GRAPH, "it holds steps of training (training_info)")
    return proto
