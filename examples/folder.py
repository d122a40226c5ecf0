"""Writes an example as a folder that `modelless register` takes: models, held-out rows, manifest; never trains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from examples.training import Made
from optimizer.progress import Steps
from registry.manifest import TaskManifest, VariantManifest, dump
from registry.model import Task
from registry.prices import local_tiers


def write(
    folder: Path, task: Task, held_out: Mapping[str, NDArray[Any]], variants: Iterable[Made], steps: Steps
) -> Path:
    """The path of `task.yaml` in `folder`, beside `eval.npz` and one `.onnx` file per variant, which it refers to.

    `held_out` has one array per input, and the right answers under an output's name. The manifest is written last,
    so a folder with one is whole. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    evaluation = folder / "eval.npz"
    np.savez_compressed(evaluation, allow_pickle=False, **held_out)
    entries = []
    for made in variants:
        model = folder / f"{made.name}.onnx"
        model.write_bytes(made.model)
        entries.append(VariantManifest(made.name, model, made.recipe))
        steps.step(f"{made.name} trained")
    manifest = folder / "task.yaml"
    manifest.write_text(dump(TaskManifest(folder, task, evaluation, tuple(entries), local_tiers())), encoding="utf-8")
    return manifest
