"""Fifty tasks with published models and bounds that a cold start misses, on any tiers; it measures nothing.

Accuracies, parameters and work are published: those of `benchmarks.vision`, and of compressed BERTs on SST-2 (Jiao et
al., TinyBERT, Findings of EMNLP 2020, Table 1; half of its FLOPs are multiply-adds). Times follow as in
`benchmarks.vision`. Every task has weights of its own, as tasks that somebody trained for have.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.vision import MODELS, Model, placed_on, variant_of
from registry.catalogue import Catalogue
from registry.model import Slo, Task, TensorSpec, Tier, Variant

TASKS = 50


class Family(NamedTuple):
    """Tasks of one kind: of `models` each has `each` in a row, the first where its turn is."""

    name: str
    models: tuple[Model, ...]
    each: int
    rows: int
    """Of the held-out set."""
    floor: float
    """Least accuracy that is asked for."""
    inputs: TensorSpec


IMAGES = Family("image", MODELS, 4, 50_000, 0.75, TensorSpec("image", "FP32", (-1, 3, 224, 224)))
TEXTS = Family(
    "text",
    (
        Model("mobilebert-tiny", 0.917, 15.1, 1.55),
        Model("tinybert-4", 0.926, 14.5, 0.6),
        Model("mobilebert", 0.926, 25.3, 2.85),
        Model("tinybert-6", 0.931, 67.0, 5.65),
    ),
    3,
    1_821,
    0.92,
    TensorSpec("tokens", "INT64", (-1, 128)),
)
FAMILIES = (IMAGES, TEXTS)

BOUNDS_MS = (150.0, 250.0, 500.0)
"""Of the tasks in turn: a start on demand takes longer than any, a restored snapshot than the first two."""


@dataclass(frozen=True, slots=True)
class Application:
    """A task and the models that can do it, the least accurate first."""

    task: Task
    models: tuple[Model, ...]
    rows: int

    @property
    def slo(self) -> Slo:
        """What its callers ask for."""
        return self.task.default_slo

    def variant(self, model: Model) -> Variant:
        """One of its models."""
        return variant_of(self.task.name, model, self.rows)


Placed = tuple[Application, Model, Tier]
"""A model of an application on a tier."""


def applications(count: int = TASKS) -> tuple[Application, ...]:
    """So many tasks, of all families and with all bounds in turn."""
    return tuple(_application(number) for number in range(count))


def everywhere(apps: Iterable[Application], tiers: Sequence[Tier]) -> list[Placed]:
    """Every model of every application on every tier."""
    return [(app, model, tier) for app in apps for model in app.models for tier in tiers]


def catalogue(placed: Sequence[Placed]) -> Catalogue:
    """These placements, with what is assumed of them."""
    found = [placed_on(app.variant(model), model, tier) for app, model, tier in placed]
    return (
        Catalogue.empty()
        .with_tasks(*dict.fromkeys(app.task for app, _, _ in placed))
        .with_tiers(*dict.fromkeys(tier for _, _, tier in placed))
        .with_variants(*dict.fromkeys(app.variant(model) for app, model, _ in placed))
        .with_placements(*(placement for placement, _ in found))
        .with_profiles(*(profile for _, profile in found))
    )


def _application(number: int) -> Application:
    family = FAMILIES[number % len(FAMILIES)]
    turn = number // len(FAMILIES)
    first = turn % (len(family.models) - family.each + 1)
    slo = Slo(BOUNDS_MS[number % len(BOUNDS_MS)], percentile=95.0, min_accuracy=family.floor)
    label = TensorSpec("label", "INT64", (-1,))
    task = Task(f"{family.name}-{number:02}", (family.inputs,), (label,), "accuracy", default_slo=slo)
    return Application(task, family.models[first : first + family.each], family.rows)
