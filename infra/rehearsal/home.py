"""A home with one small task, registered by the command line as anybody would; it trains nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from cli.main import main

TASK = "side"
WIDTH = 64
"""Features of a row, so that a job of some rows is too large for its item, and what it answers is as well."""

ROWS = 400


def make_home(folder: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """A home in which TASK is registered, rows to ask about, and the side of a plane that each is on."""
    x = np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype(np.float32)
    sides = (x.sum(axis=1) > 0).astype(np.int64)
    (folder / "model.onnx").write_bytes(_model())
    np.savez(folder / "rows.npz", x=x, side=sides)
    home, files = folder / "home", (str(folder / "model.onnx"), "--eval", str(folder / "rows.npz"))
    options = ("--no-generate", "--tier", "inline", "--quick", "--latency-ms", "400", "--home", str(home), "--json")
    done = CliRunner().invoke(main, ["register", TASK, *files, *options], catch_exceptions=False)
    if done.exit_code:
        raise RuntimeError(done.output)
    return home, x, sides


def _model() -> bytes:
    """Which side of a plane a row is on, and the row with its signs turned."""
    weights = np.tile(np.array([-1, 1], dtype=np.float32), (WIDTH, 1))
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["scores"]),
            helper.make_node("ArgMax", ["scores"], ["side"], axis=1, keepdims=0),
            helper.make_node("Neg", ["x"], ["turned"]),
        ],
        TASK,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTH])],
        [
            helper.make_tensor_value_info("side", TensorProto.INT64, ["n"]),
            helper.make_tensor_value_info("turned", TensorProto.FLOAT, ["n", WIDTH]),
        ],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return bytes(model.SerializeToString())
