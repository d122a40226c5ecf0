"""Ahead-of-time compilation: ONNX Runtime's optimised graph, written down once; never changes what is computed."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnxruntime as ort

from registry.errors import InvalidValue


def optimise(model: bytes, *, native: bool = False) -> bytes:
    """The graph that ONNX Runtime makes of a model before it runs it.

    Level EXTENDED, whose result any CPU runs; `native`: level ALL, whose result suits CPUs of this machine's level.
    Raises InvalidValue with ONNX Runtime's reason when it cannot load the model.
    """
    levels = ort.GraphOptimizationLevel
    with tempfile.TemporaryDirectory(prefix="modelless-") as folder:
        path = Path(folder, "optimised.onnx")
        options = ort.SessionOptions()
        options.graph_optimization_level = levels.ORT_ENABLE_ALL if native else levels.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(path)
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            ort.InferenceSession(model, options, providers=["CPUExecutionProvider"], enable_fallback=0)
        except Exception as fault:  # noqa: BLE001 - onnxruntime's status classes have no common root
            raise InvalidValue("model", " ".join(str(fault).split())[:300], "export a model it can load") from None
        return path.read_bytes()
