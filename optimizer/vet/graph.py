"""Whether a model is valid ONNX whose shapes fit together and stay small; never runs it."""

from __future__ import annotations

import math
from collections.abc import Callable

import onnx
from onnx import ModelProto, ValueInfoProto, shape_inference

from optimizer.errors import ModelRefused, Reason
from optimizer.vet.caps import Caps
from optimizer.vet.structure import BITS


def check_graph(model: ModelProto, caps: Caps) -> None:
    """Raise ModelRefused unless the checker and strict shape inference accept it and no known shape is too large."""
    _judged(Reason.INVALID_GRAPH, lambda: onnx.checker.check_model(model))
    inferred = _judged(
        Reason.SHAPE_INFERENCE,
        lambda: shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True),
    )
    for value in (*inferred.graph.value_info, *inferred.graph.output):
        _check_size(value, caps)


def _judged(reason: Reason, check: Callable[[], ModelProto]) -> ModelProto:
    """What `check` gives; raises ModelRefused for anything that onnx raises, whose classes have no common root."""
    try:
        return check()
    except (onnx.checker.ValidationError, shape_inference.InferenceError, RuntimeError, ValueError, TypeError) as fault:
        raise ModelRefused(reason, _line(fault)) from None


def _check_size(value: ValueInfoProto, caps: Caps) -> None:
    tensor = value.type.tensor_type
    # An unknown extent counts as one: what comes of it shows when it runs.
    extents = [dim.dim_value if dim.HasField("dim_value") else 1 for dim in tensor.shape.dim]
    size = math.prod(extents) * BITS.get(tensor.elem_type, 64) // 8
    if size > caps.tensor_bytes:
        raise ModelRefused(
            Reason.TENSOR_TOO_LARGE, f"{value.name[:80]!r} is of {size} bytes, more than {caps.tensor_bytes}"
        )


def _line(fault: Exception) -> str:
    return " ".join(str(fault).split())[:300] or type(fault).__name__
