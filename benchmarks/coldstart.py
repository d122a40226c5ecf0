"""First answer of a new environment, ours against the ordinary way; never with the ordinary way made slower.

Ours: the worker function in a new environment of the `process` backend, from the call to the reply (one row). Weights
stay unpacked, as the profiler keeps them here: after a fork, one row of the large model takes 4 ms more pre-packed.
The snapshot holds the variant, as the platform has it (`gateway.preload`).
Ordinary: a fresh interpreter under the same runtime client, Runtime API and CPU share, whose handler module does
`import onnxruntime` and `InferenceSession("model.onnx")` at INIT, packaged as `sam build` ships it: packages without
bytecode in a folder that Python may not write to. `naive_pyc_ms` is the same with bytecode. `floor_ms` is a handler
that does nothing at all, started our way, and `ceiling` the ratio if ours took no longer than that.
"""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import uvloop

from benchmarks.harness import Row, interval, run
from benchmarks.models import dense
from gateway.backends.process import ProcessBackend
from gateway.backends.protocol import Invocation
from gateway.environments.cpu_share import Shares
from gateway.environments.pool import Pool
from gateway.environments.spec import FunctionSpec, import_roots
from optimizer.artifact import make_artifact
from registry.blobs.files import Files
from registry.model import Accuracy, Placement, Recipe, StartMode, Tier, Variant
from registry.prices import local_tiers

MODELS = {"small": (64, 3), "large": (1024, 25)}
"""Width and depth of a chain of dense layers: 48 KB and 100 MB of weights."""

MODES = (StartMode.ONDEMAND, StartMode.SNAPSTART)

SHIPPED = (
    "onnxruntime",
    "numpy",
    "protobuf",
    "flatbuffers",
    "packaging",
    "awslambdaric",
    "simplejson",
    "snapshot-restore-py",
)

ORDINARY = """
import base64
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")


def handler(event, context):
    row = np.frombuffer(base64.b64decode(event["x"]), np.float32).reshape(1, -1)
    (y,) = session.run(["y"], {"x": row})
    return {"y": base64.b64encode(y.tobytes()).decode()}
"""

NOTHING = "def handler(event, context):\n    return {}\n"

Start = Callable[[], Awaitable[float]]
"""Starts an environment, has it answer once, ends it; milliseconds to the answer."""


def rows(quick: bool) -> list[Row]:
    """One row per start mode and model size."""
    measured: list[Row] = uvloop.run(_rows(7 if quick else 25))
    return measured


async def _rows(repeats: int) -> list[Row]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coldstart-")))
        shares = Shares()
        stack.callback(shares.close)
        cases = await _cases(folder, shares, stack)
        samples = await _measure(cases, repeats)
    return [_row(samples, mode, name, shares.kind) for mode in MODES for name in MODELS]


async def _cases(folder: Path, shares: Shares, stack: AsyncExitStack) -> dict[str, Start]:
    """Every case, by `what/mode/model`, checked to give the same output."""
    tiers = {tier.start_mode: tier for tier in local_tiers() if tier.memory_mb == 1769}
    packed = _package(folder / "package")
    blobs = Files(folder / "blobs")
    cases: dict[str, Start] = {}
    for mode in MODES:
        cases[f"floor/{mode}"] = await _floor(folder, tiers[mode], shares, stack)
    for name, shape in MODELS.items():
        model = dense(*shape)
        digest = make_artifact(model, blobs)
        row = np.random.default_rng(1).normal(size=(1, shape[0])).astype(np.float32)
        answers = []
        for what, path in {"naive": (str(packed),), "naive_pyc": import_roots("onnxruntime", "awslambdaric")}.items():
            spec = _ordinary_spec(folder / name, model, path, tiers[StartMode.ONDEMAND])
            cases[f"{what}/{name}"], answer = await _ordinary(spec, row, shares, stack)
            answers.append(answer)
        for mode in MODES:
            cases[f"ours/{mode}/{name}"], answer = await _ours(
                tiers[mode], blobs, digest, row, shares=shares, stack=stack
            )
            answers.append(answer)
        for answer in answers[1:]:
            np.testing.assert_allclose(answer, answers[0], rtol=1e-3, atol=1e-5)
    return cases


async def _measure(cases: dict[str, Start], repeats: int) -> dict[str, list[float]]:
    """Every case in turn, the order reversed on every other round."""
    samples: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(repeats):
        for name in list(cases) if turn % 2 == 0 else list(cases)[::-1]:
            samples[name].append(await cases[name]())
    return samples


def _row(samples: dict[str, list[float]], mode: StartMode, name: str, cpu_share: str) -> Row:
    ours, naive = samples[f"ours/{mode}/{name}"], samples[f"naive/{name}"]
    ours_ms, ours_low, ours_high = interval(ours)
    naive_ms, naive_low, naive_high = interval(naive)
    floor_ms = interval(samples[f"floor/{mode}"])[0]
    width, depth = MODELS[name]
    return {
        "mode": mode.value,
        "model_mb": round(width * width * depth * 4 / 1e6, 2),
        "ours_ms": ours_ms,
        "naive_ms": naive_ms,
        "ratio": naive_ms / ours_ms,
        "worst_ratio": min(n / o for n, o in zip(naive, ours, strict=True)),
        "ours_low_ms": ours_low,
        "ours_high_ms": ours_high,
        "ours_worst_ms": max(ours),
        "naive_low_ms": naive_low,
        "naive_high_ms": naive_high,
        "naive_worst_ms": max(naive),
        "naive_pyc_ms": interval(samples[f"naive_pyc/{name}"])[0],
        "floor_ms": floor_ms,
        "ceiling": naive_ms / floor_ms,
        "cpu_share": cpu_share,
        "repeats": len(ours),
    }


# ---------------------------------------------------------------------- cases


async def _ours(
    tier: Tier, blobs: Files, digest: str, row: Any, *, shares: Shares, stack: AsyncExitStack
) -> tuple[Start, Any]:
    variant = Variant("bench", "dense", digest, Recipe("bench"), Accuracy(0.5, 0.4, 0.6, 100, "wilson"))
    placement = Placement(variant.id, tier.name, threads=1, prepack=False)
    preload = [(placement, variant)] if tier.start_mode is StartMode.SNAPSTART else []
    backend = ProcessBackend(tier, emit=lambda event: None, blobs_root=blobs.root, preload=preload, shares=shares)
    stack.push_async_callback(backend.close)
    await backend.prepare()
    outputs: list[Any] = []

    async def start() -> float:
        await settled(backend.pool)
        began = time.perf_counter()
        reply = await backend.invoke(Invocation("1", placement, variant, {"x": row}, time.monotonic() + 60))
        took = (time.perf_counter() - began) * 1e3
        assert reply.cold
        outputs.append(np.asarray(reply.outputs["y"]))
        return took

    await start()
    return start, outputs[0]


async def _ordinary(spec: FunctionSpec, row: Any, shares: Shares, stack: AsyncExitStack) -> tuple[Start, Any]:
    pool = Pool(spec, emit=lambda event: None, shares=shares)
    stack.push_async_callback(pool.close)
    payload = orjson.dumps({"x": base64.b64encode(row.tobytes()).decode()})
    start, outputs = _first_answer(pool, payload)
    await start()
    return start, np.frombuffer(base64.b64decode(outputs[0]["y"]), np.float32).reshape(1, -1)


async def _floor(folder: Path, tier: Tier, shares: Shares, stack: AsyncExitStack) -> Start:
    root = folder / "nothing"
    root.mkdir(exist_ok=True)
    (root / "nothing.py").write_text(NOTHING)
    spec = FunctionSpec(
        name="nothing",
        handler="nothing.handler",
        task_root=root,
        python_path=(str(root), *import_roots("awslambdaric")),
        memory_mb=tier.memory_mb,
        start_mode=tier.start_mode,
    )
    pool = Pool(spec, emit=lambda event: None, shares=shares)
    stack.push_async_callback(pool.close)
    await pool.prepare()
    start, _ = _first_answer(pool, b"{}")
    await start()
    return start


def _first_answer(pool: Pool, payload: bytes) -> tuple[Start, list[Any]]:
    outputs: list[Any] = []

    async def start() -> float:
        await settled(pool)
        began = time.perf_counter()
        answer = await pool.invoke(payload)
        took = (time.perf_counter() - began) * 1e3
        assert answer.cold, "an environment was left over"
        assert answer.error is None, answer.error
        outputs.append(orjson.loads(answer.payload))
        return took

    return start, outputs


async def settled(pool: Pool) -> None:
    """No environment left, and none still dying beside the next."""
    await pool.release()
    while pool.environments:
        await asyncio.sleep(0.001)
        await pool.release()


def _ordinary_spec(root: Path, model: bytes, path: Sequence[str], tier: Tier) -> FunctionSpec:
    root.mkdir(exist_ok=True)
    (root / "ordinary.py").write_text(ORDINARY)
    (root / "model.onnx").write_bytes(model)
    spec = FunctionSpec(
        name="ordinary",
        handler="ordinary.handler",
        task_root=root,
        python_path=(str(root), *path),
        # It would otherwise spend its start on reporting home.
        env={"PYTHONDONTWRITEBYTECODE": "1", "ORT_DISABLE_TELEMETRY": "1"},
        memory_mb=tier.memory_mb,
        # Outside the virtual environment, whose own packages have bytecode.
        python=getattr(sys, "_base_executable", sys.executable),
    )
    return replace(spec, python_flags=("-s",))


def _package(target: Path) -> Path:
    """The function's packages as `sam build` leaves them: sources and libraries, no bytecode.

    Linked where the file system allows, so that both ways read the same pages.
    """
    for name in SHIPPED:
        found = distribution(name)
        for file in found.files or ():
            source = Path(str(found.locate_file(file)))
            if source.suffix == ".pyc" or ".." in file.parts or not source.is_file():
                continue
            copy = target / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(source, copy)
            except OSError:
                shutil.copy2(source, copy)
    return target


if __name__ == "__main__":
    raise SystemExit(run("coldstart", rows))
