"""A home with one task on one tier, measured by the product's own profiler; decides nothing about what is measured."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from gateway.local import Platform, open_store
from optimizer.evaluation import Evaluation
from optimizer.plan import Plan
from optimizer.register import register
from optimizer.registration import Model, Registration
from registry.catalogue import Catalogue
from registry.model import Recipe, Task, TensorSpec, Tier
from registry.store import update

CHANNELS, DEPTH, SIDE = 256, 6, 8
"""Bound by arithmetic, with some 10 ms a row on one core: long against a server's own time, and against the whole
milliseconds that are billed; and a request of 64 numbers takes no time to read."""

TASK = Task(
    "picture", (TensorSpec("image", "FP32", (-1, SIDE * SIDE)),), (TensorSpec("label", "INT64", (-1,)),), "accuracy"
)

ROWS = 64
"""Held-out rows; what is right for them does not matter here."""

LONG = Plan(rows=(1,), extra=0, starts=40, alone=False, cell_s=4.0, least=200, median_width=0.02, tail_width=0.10)
"""A start is drawn from what was measured, so its 99th percentile can be no better than the worst of so many."""

SHORT = replace(LONG, starts=6, cell_s=1.0, least=50, trials=4)


def profile(home: Path, tier: Tier, plan: Plan) -> Catalogue:
    """The home's catalogue with the task measured anew on the tier, as the machine is now."""
    return asyncio.run(_profile(home, tier, plan))


async def _profile(home: Path, tier: Tier, plan: Plan) -> Catalogue:
    model = Model("conv", convolutions(), Recipe("import"), max_batch=1)
    evaluation = Evaluation({"image": pictures()}, "label", np.zeros(ROWS, np.int64))
    async with Platform.open(home) as platform:
        platform.serve(tier)
        await platform.prepare()
        registration = Registration(TASK, evaluation, {}, (model,), (tier,))
        await register(registration, platform.store, platform.blobs, platform.backends, plan=plan, clock=platform.clock)
        return await platform.refresh()


def resize(home: Path, tier: str, *, concurrency: int, idle_timeout_s: float) -> Catalogue:
    """The home's catalogue with a tier of this size and patience, which whoever opens the home next serves."""
    store = open_store(home)

    def edit(catalogue: Catalogue) -> Catalogue:
        changed = replace(catalogue.tiers[tier], concurrency=concurrency, idle_timeout_s=idle_timeout_s)
        return catalogue.with_tiers(changed)

    try:
        return update(store, edit)
    finally:
        store.close()


@cache
def pictures() -> NDArray[np.float32]:
    """Held-out rows [ROWS, SIDE * SIDE]."""
    return np.random.default_rng(3).normal(size=(ROWS, SIDE * SIDE)).astype(np.float32)


@cache
def convolutions() -> bytes:
    """A chain of convolutions from `image` [-1, 64] to `label` [-1], as ONNX."""
    draw = np.random.default_rng(4)
    widths = [1, *[CHANNELS] * DEPTH]
    tensors = [numpy_helper.from_array(np.array([-1, 1, SIDE, SIDE]), "shape")]
    nodes = [helper.make_node("Reshape", ["image", "shape"], ["r0"])]
    for i in range(DEPTH):
        kernel = draw.normal(size=(widths[i + 1], widths[i], 3, 3)) * (2 / (9 * widths[i])) ** 0.5
        tensors.append(numpy_helper.from_array(kernel.astype(np.float32), f"w{i}"))
        nodes.append(helper.make_node("Conv", [f"r{i}", f"w{i}"], [f"h{i}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"h{i}"], [f"r{i + 1}"]))
    nodes += [
        helper.make_node("GlobalAveragePool", [f"r{DEPTH}"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [None, SIDE * SIDE])
    label = helper.make_tensor_value_info("label", TensorProto.INT64, [None])
    made = helper.make_model(
        helper.make_graph(nodes, "conv", [image], [label], tensors), opset_imports=[helper.make_opsetid("", 17)]
    )
    made.ir_version = 8
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())
