"""What a registration is given, in memory: the task, its rows and its models; reads no file and makes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from optimizer.evaluation import Evaluation
from registry.model import Recipe, Task, Tier


@dataclass(frozen=True, slots=True)
class Model:
    """One model to register, and the settings of its placements."""

    name: str
    onnx: bytes | None
    """None: it is made by its recipe's generator, with the recipe's parameters, of its parent before it."""
    recipe: Recipe
    max_batch: int = 64
    threads: int | None = None
    """None: as many as the tier has whole vCPUs."""
    prepack: bool | None = None
    """None: whichever is measured to be better."""


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """Everything that `optimizer.register.register` needs to know of a task."""

    task: Task
    evaluation: Evaluation
    calibration: Mapping[str, NDArray[Any]]
    """Inputs by name, rows on which nothing is judged: for calibrating and distilling. When empty and a generator is
    asked for, some rows of the evaluation are set aside (`optimizer.evaluation.split`)."""
    models: tuple[Model, ...]
    tiers: tuple[Tier, ...]
    generate: tuple[str, ...] = ()
    """Generators (`optimizer.generate.table`) whose proposals are made of each model; none: the models as they are."""
