"""Whether a model's inputs and outputs can be served at all; never whether they are a task's."""

from __future__ import annotations

from onnx import ModelProto, TensorProto, TypeProto, ValueInfoProto

from optimizer.errors import ModelRefused, Reason
from optimizer.vet.caps import Caps

SERVED = frozenset(
    {
        TensorProto.FLOAT,
        TensorProto.DOUBLE,
        TensorProto.FLOAT16,
        TensorProto.BOOL,
        TensorProto.STRING,
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
"""Element types that the Open Inference Protocol has."""


def inputs_of(model: ModelProto) -> list[ValueInfoProto]:
    """What a caller must give: inputs with an initializer of their name are constants (ONNX before IR 4)."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in constants]


def check_signature(model: ModelProto, caps: Caps) -> None:
    """Raise ModelRefused unless inputs and outputs are dense and of served types, and inputs have a free first axis."""
    inputs = inputs_of(model)
    if not inputs:
        raise ModelRefused(Reason.NO_BATCH_AXIS, "it takes no input")
    for value in (*inputs, *model.graph.output):
        _check_dense(value)
    for value in inputs:
        _check_rows(value.name[:80], value.type.tensor_type, caps)


def _check_dense(value: ValueInfoProto) -> None:
    name, kind = value.name[:80], value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise ModelRefused(Reason.NOT_DENSE, f"{name!r} is no dense tensor")
    if value.type.tensor_type.elem_type not in SERVED:
        raise ModelRefused(
            Reason.UNSERVED_TYPE, f"{name!r} is of ONNX's element type {value.type.tensor_type.elem_type}"
        )


def _check_rows(name: str, tensor: TypeProto.Tensor, caps: Caps) -> None:
    if not tensor.HasField("shape") or not tensor.shape.dim:
        raise ModelRefused(Reason.NO_BATCH_AXIS, f"input {name!r} has no axes")
    if len(tensor.shape.dim) > caps.rank:
        raise ModelRefused(Reason.BAD_TENSOR, f"input {name!r} has more than {caps.rank} axes")
    if tensor.shape.dim[0].HasField("dim_value"):
        extent = tensor.shape.dim[0].dim_value
        raise ModelRefused(Reason.NO_BATCH_AXIS, f"the first axis of input {name!r} is fixed at {extent}")
