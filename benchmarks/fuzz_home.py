"""A home of three small tasks, of numbers, images and strings, for what is asked in bad faith; it judges no answer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from gateway.local import Platform
from optimizer.evaluation import Evaluation
from optimizer.plan import QUICK
from optimizer.register import register
from optimizer.registration import Model, Registration
from registry.model import Recipe, Task, TensorSpec
from registry.prices import local_tiers

LABEL = TensorSpec("label", "INT64", (-1,))

TASKS: tuple[Task, ...] = (
    Task("rows", (TensorSpec("x", "FP32", (-1, 4)),), (LABEL,), "accuracy"),
    Task("images", (TensorSpec("image", "UINT8", (-1, 8, 8)),), (LABEL,), "accuracy"),
    Task("words", (TensorSpec("word", "BYTES", (-1,)),), (LABEL, TensorSpec("echo", "BYTES", (-1,))), "accuracy"),
)

TIERS = ("inline", "process-1769")
"""In the gateway itself, and in an environment of its own."""

ROWS = 32
"""Held-out rows of each task; what is right for them does not matter here."""


def make(home: Path) -> None:
    """Register the tasks."""
    asyncio.run(_make(home))


async def _make(home: Path) -> None:
    tiers = tuple(tier for tier in local_tiers() if tier.name in TIERS)
    async with Platform.open(home) as platform:
        platform.serve(*tiers)
        await platform.prepare()
        for task in TASKS:
            evaluation = Evaluation(rows(task), "label", np.zeros(ROWS, np.int64))
            registration = Registration(task, evaluation, {}, (Model("m", _model(task), Recipe("import")),), tiers)
            await register(
                registration, platform.store, platform.blobs, platform.backends, plan=QUICK, clock=platform.clock
            )


def rows(task: Task) -> dict[str, NDArray[Any]]:
    """Held-out rows of a task's one input."""
    draw, spec = np.random.default_rng(5), task.inputs[0]
    if spec.datatype == "BYTES":
        return {spec.name: np.array([b"cat", b"dog"] * (ROWS // 2), dtype=object)}
    shape = (ROWS, *spec.shape[1:])
    return {spec.name: draw.integers(0, 256, shape).astype(np.uint8 if spec.datatype == "UINT8" else np.float32)}


def _model(task: Task) -> bytes:
    """From the task's input to its outputs, as ONNX."""
    nodes = {
        "rows": [helper.make_node("ArgMax", ["x"], ["label"], axis=1, keepdims=0)],
        "images": [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("Cast", ["flat"], ["wide"], to=TensorProto.FLOAT),
            helper.make_node("ArgMax", ["wide"], ["label"], axis=1, keepdims=0),
        ],
        "words": [
            helper.make_node("Identity", ["word"], ["echo"]),
            helper.make_node(
                "LabelEncoder",
                ["word"],
                ["label"],
                domain="ai.onnx.ml",
                keys_strings=["cat", "dog"],
                values_int64s=[0, 1],
                default_int64=-1,
            ),
        ],
    }[task.name]
    made = helper.make_model(
        helper.make_graph(nodes, task.name, [_info(s) for s in task.inputs], [_info(s) for s in task.outputs]),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)],
        ir_version=8,
    )
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


_KINDS = {
    "FP32": TensorProto.FLOAT,
    "UINT8": TensorProto.UINT8,
    "INT64": TensorProto.INT64,
    "BYTES": TensorProto.STRING,
}


def _info(spec: TensorSpec) -> Any:
    shape = [None if extent < 0 else extent for extent in spec.shape]
    return helper.make_tensor_value_info(spec.name, _KINDS[spec.datatype], shape)
