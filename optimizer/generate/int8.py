"""Int8 quantisation: weights in eight bits, activations by their own or by calibrated ranges; never judges the loss."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto, helper

from optimizer.artifact import check
from optimizer.errors import GenerationFailed
from optimizer.generate.compile_ import Depth, optimise
from optimizer.generate.generated import Expectation, Generated, Generator, Parameters, Parent
from optimizer.generate.weights import has_weights
from registry.model import Recipe

PARAMETERS: Mapping[str, str] = {"mode": "dynamic", "reduce_range": "true", "per_channel": "false"}
"""With their defaults. `mode` is `dynamic` (activations quantised by the range that they have) or `static` (by the
range that they had on the calibration rows). `reduce_range` keeps weights in seven bits: on CPUs without VNNI the
product of two eight-bit numbers is summed in pairs into sixteen bits and saturates (ONNX Runtime, "Quantize ONNX
models", on U8S8), and Lambda promises AVX2 only. `per_channel` gives every output channel a scale of its own."""

DYNAMIC = ("Gemm", "MatMul")
"""Operators with weights to quantise dynamically; ONNX Runtime's CPU has no ConvInteger for signed weights."""

STATIC = ("Conv", "Gemm", "MatMul")
"""Operators with weights to quantise statically."""

CARRIERS = ("Add", "AveragePool", "Clip", "Concat", "Flatten", "GlobalAveragePool", "MaxPool", "Relu", "Reshape")
"""What may stay in eight bits between those; probabilities and answers are computed in full precision."""

CALIBRATION_ROWS = 500
"""As many as calibrate an ImageNet classifier (NVIDIA, "TensorRT Developer Guide", on INT8 calibration)."""

CHUNK = 50
"""Rows run at a time while calibrating, which bounds the memory that their activations take."""

_NOTHING = "no weight of this model can be quantised"


def generate(parent: Parent, parameters: Parameters) -> Generated:
    """The parent with the weights of its MatMul, Gemm and Conv nodes as int8, about a quarter of the size.

    Parameters: `mode`, `reduce_range` and `per_channel`; see PARAMETERS. Raises GenerationFailed when a parameter is
    unknown, the model cannot be read, there is nothing in it to quantise, or a static one lacks calibration rows.
    """
    chosen = {**PARAMETERS, **parameters}
    static, reduce_range, per_channel = _flags(chosen, parameters)
    if static:
        _need_rows(parent)
    flags = {"reduce_range": reduce_range, "per_channel": per_channel}
    try:
        check(parent.model)
        source = onnx.load_from_string(optimise(parent.model, Depth.BASIC))
        _declare_floats(source)
        quantised = _static(source, parent, flags) if static else _dynamic(source, flags)
    except (ValueError, RuntimeError, TypeError, KeyError) as fault:
        raise GenerationFailed("int8", " ".join(str(fault).split())[:500]) from fault
    if not any(t.data_type == TensorProto.INT8 and t.dims for t in quantised.graph.initializer):
        raise GenerationFailed("int8", _NOTHING)
    model = quantised.SerializeToString(deterministic=True)
    return Generated(model, Recipe("int8", parent.name, tuple(sorted(chosen.items()))))


def propose(parent: Parent) -> tuple[tuple[str, Parameters], ...]:
    """`int8`, and `int8-static` where there are calibration rows of FP32 inputs.

    Not in eight bits of weight: what that adds to the accuracy is lost where a tier's CPU has no VNNI. Raises
    GenerationFailed when nothing can be quantised.
    """
    graph = onnx.load_from_string(parent.model).graph
    weights = has_weights(graph, STATIC)
    proposals: list[tuple[str, Parameters]] = []
    if has_weights(graph, DYNAMIC):
        proposals.append(("int8", {}))
    if weights and parent.rows and _all_fp32(parent):
        # With a bit less, a scale per channel is what keeps the accuracy (ONNX Runtime, quantize_static, per_channel).
        proposals.append(("int8-static", {"mode": "static", "per_channel": "true"}))
    if not proposals:
        rows = "convolutions are quantised with calibration rows of FP32 inputs only"
        raise GenerationFailed("int8", rows if weights else _NOTHING)
    return tuple(proposals)


def expect(parent: Parent, parameters: Parameters) -> Expectation:
    """A quarter of the time at the same accuracy: there are a quarter of the weights' bytes to read.

    That is what binds where rows are few: the digits' largest perceptron answers one row in 0.22 of the time.

    Raises GenerationFailed when nothing can be quantised.
    """
    static = {**PARAMETERS, **parameters}["mode"] == "static"
    if not has_weights(onnx.load_from_string(parent.model).graph, STATIC if static else DYNAMIC):
        raise GenerationFailed("int8", _NOTHING)
    return Expectation(latency=0.25)


int8 = Generator(generate, propose, expect)


def _flags(chosen: Parameters, given: Parameters) -> tuple[bool, bool, bool]:
    known = set(chosen) == set(PARAMETERS) and chosen["mode"] in ("dynamic", "static")
    flags = [chosen[name] for name in ("reduce_range", "per_channel")]
    if not known or not set(flags) <= {"true", "false"}:
        raise GenerationFailed(
            "int8", f"parameters {dict(given)} are not mode=dynamic|static, per_channel and reduce_range=true|false"
        )
    return chosen["mode"] == "static", flags[0] == "true", flags[1] == "true"


def _need_rows(parent: Parent) -> None:
    if not _all_fp32(parent):
        raise GenerationFailed("int8", "static quantisation calibrates FP32 inputs only")
    if not parent.rows or not len(next(iter(parent.rows.values()))):
        raise GenerationFailed("int8", "static quantisation needs calibration rows")


def _all_fp32(parent: Parent) -> bool:
    return all(spec.datatype == "FP32" for spec in parent.task.inputs)


def _declare_floats(model: ModelProto) -> None:
    """Write down which tensors in between are FP32, as ONNX Runtime has it: only those are quantised.

    The quantiser asks onnx's shape inference, which stops at operators of ai.onnx.ml.
    """
    looking = ModelProto()
    looking.CopyFrom(model)
    outputs = {output.name for output in model.graph.output}
    between = [name for node in model.graph.node for name in node.output if name and name not in outputs]
    looking.graph.output.extend(ValueInfoProto(name=name) for name in between)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(looking.SerializeToString(), options, providers=["CPUExecutionProvider"])
    floats = [output.name for output in session.get_outputs() if output.type == "tensor(float)"]
    del model.graph.value_info[:]
    model.graph.value_info.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in floats if name not in outputs
    )


def _dynamic(model: ModelProto, flags: Mapping[str, bool]) -> ModelProto:
    # Imported here: it takes a tenth of a second, and most uses of the generators' table never come here.
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415

    with _prepared(model) as target:
        quantize_dynamic(model, target, op_types_to_quantize=list(DYNAMIC), weight_type=QuantType.QInt8, **flags)
        return onnx.load_model(target)


def _static(model: ModelProto, parent: Parent, flags: Mapping[str, bool]) -> ModelProto:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static  # noqa: PLC0415

    _flatten_biases(model.graph)
    with _prepared(model) as target:
        quantize_static(
            model,
            target,
            _reader(parent.some_rows(CALIBRATION_ROWS)),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=[*STATIC, *CARRIERS],
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
            **flags,
        )
        quantised = onnx.load_model(target)
    _free_answers(quantised.graph)
    return quantised


def _free_answers(graph: GraphProto) -> None:
    """Take quantisation out again where no weights follow: a value beyond those of the calibration rows is an answer.

    Kept in eight bits, it would be clipped to the largest that was seen there.
    """
    ahead = _ahead_of_weights(graph)
    outputs = {output.name for output in graph.output}
    quantised = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    freed = {
        node.output[0]: quantised[node.input[0]]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in quantised and node.output[0] not in ahead
    }
    # What was an output keeps its name, and whoever makes the value writes it there.
    renamed = {source: name for name, source in freed.items() if name in outputs}
    for node in graph.node:
        for i, name in enumerate(node.input):
            source = freed.get(name, name)
            node.input[i] = renamed.get(source, source)
    kept = [node for node in graph.node if node.op_type != "DequantizeLinear" or node.output[0] not in freed]
    read = {name for node in kept for name in node.input}
    kept = [node for node in kept if node.op_type != "QuantizeLinear" or node.output[0] in read]
    for node in kept:
        for i, name in enumerate(node.output):
            node.output[i] = renamed.get(name, name)
    del graph.node[:]
    graph.node.extend(kept)
    read = {name for node in kept for name in node.input} | outputs
    unread = [tensor for tensor in graph.initializer if tensor.name not in read]
    for tensor in unread:
        graph.initializer.remove(tensor)


def _ahead_of_weights(graph: GraphProto) -> set[str]:
    """The tensors on which an operator with weights depends."""
    ahead: set[str] = set()
    for node in reversed(graph.node):
        if node.op_type in STATIC or not ahead.isdisjoint(node.output):
            ahead.update(node.input)
    return ahead


def _flatten_biases(graph: GraphProto) -> None:
    """Give Gemm's biases of shape [1, n] the shape [n]: the quantiser takes no others (onnxruntime issue 24815)."""
    biases = {node.input[2] for node in graph.node if node.op_type == "Gemm" and len(node.input) == 3}
    others = {name for node in graph.node for i, name in enumerate(node.input) if node.op_type != "Gemm" or i != 2}
    for tensor in graph.initializer:
        if tensor.name in biases - others and len(tensor.dims) == 2 and tensor.dims[0] == 1:
            del tensor.dims[0]


def _reader(rows: Mapping[str, NDArray[Any]]) -> Any:
    """The calibration rows, chunk by chunk, as ONNX Runtime reads them."""
    from onnxruntime.quantization import CalibrationDataReader  # noqa: PLC0415

    class Rows(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._starts = iter(range(0, len(next(iter(rows.values()))), CHUNK))

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            start = next(self._starts, None)
            if start is None:
                return None
            return {name: np.ascontiguousarray(array[start : start + CHUNK]) for name, array in rows.items()}

    return Rows()


@contextmanager
def _prepared(model: ModelProto) -> Iterator[Path]:
    """Where to write the quantised model, while what the library says to the root logger is dropped."""
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata  # noqa: PLC0415

    # The model is optimised already; without this mark, it is advised.
    add_pre_process_metadata(model)
    root, silent = logging.getLogger(), logging.NullHandler()
    # A first message would otherwise give the root logger a handler, for good.
    root.addHandler(silent)
    root.addFilter(_not_the_library)
    try:
        with tempfile.TemporaryDirectory(prefix="modelless-int8-") as folder:
            yield Path(folder, "int8.onnx")
    finally:
        root.removeFilter(_not_the_library)
        root.removeHandler(silent)


def _not_the_library(record: logging.LogRecord) -> bool:
    return Path(record.pathname).parent.name not in ("quantization", "operators")
