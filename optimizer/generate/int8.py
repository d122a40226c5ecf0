"""Dynamic int8 quantisation: weights kept in eight bits, activations quantised as they come; never judges the loss."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from optimizer.artifact import check
from optimizer.errors import GenerationFailed
from optimizer.generate.generated import Expectation, Generated, Generator, Parameters, Parent
from registry.model import Recipe

PARAMETERS: Mapping[str, str] = {"reduce_range": "true", "per_channel": "false"}
"""With their defaults. `reduce_range` keeps weights in seven bits: on AVX2 without VNNI the product of two eight-bit
numbers is summed in pairs into sixteen bits and saturates (ONNX Runtime, "Quantize ONNX models", on U8S8), and
Lambda promises AVX2 only."""


def generate(parent: Parent, parameters: Parameters) -> Generated:
    """The parent with the weights of its MatMul, Gemm, Conv, … nodes as int8, about a quarter of the size.

    Parameters: `reduce_range` and `per_channel`, each `true` or `false`. Raises GenerationFailed when a parameter is
    unknown, the model cannot be read, or there is nothing in it to quantise.
    """
    chosen = {**PARAMETERS, **parameters}
    unknown = sorted(set(chosen) - set(PARAMETERS))
    if unknown or not set(chosen.values()) <= {"true", "false"}:
        raise GenerationFailed("int8", f"parameters {dict(parameters)} are not among {sorted(PARAMETERS)}: true|false")
    flags = {name: value == "true" for name, value in chosen.items()}
    try:
        quantised = _quantise(check(parent.model), flags)
    except (ValueError, RuntimeError, TypeError, KeyError) as fault:
        raise GenerationFailed("int8", " ".join(str(fault).split())[:500]) from fault
    if not any(t.data_type == onnx.TensorProto.INT8 for t in quantised.graph.initializer):
        raise GenerationFailed("int8", "no weight of this model can be quantised")
    return Generated(quantised.SerializeToString(), Recipe("int8", parent.name, tuple(sorted(chosen.items()))))


def propose(parent: Parent) -> tuple[tuple[str, Parameters], ...]:
    """One variant, with the defaults."""
    return (("int8", {}),)


def expect(parent: Parent, parameters: Parameters) -> Expectation:
    """Half the time at the same accuracy: what eight bits give at best where memory bandwidth binds."""
    return Expectation(latency=0.5)


int8 = Generator(generate, propose, expect)


def _quantise(model: Any, flags: Mapping[str, bool]) -> Any:
    # Imported here: it takes a tenth of a second, and most uses of the generators' table never come here.
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata  # noqa: PLC0415

    # Without this mark the root logger is told to optimise the graph first; making the artifact does so afterwards.
    add_pre_process_metadata(model)
    with tempfile.TemporaryDirectory(prefix="modelless-int8-") as folder:
        target = Path(folder, "int8.onnx")
        quantize_dynamic(model, target, weight_type=QuantType.QInt8, **flags)
        return onnx.load_model(target)
