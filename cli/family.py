"""What a registration did, as tables and as JSON: the variants of a task, and what was tried beside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.attempts import attempts
from cli.output import several, size, table
from gateway.documents import tried_document

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.register import Registered
    from registry.model import Recipe, TensorSpec, Variant


def document(done: Registered) -> dict[str, Any]:
    """As JSON: stable keys, every number."""
    return {
        "task": done.task.name,
        "catalogue_version": done.version,
        "metric": done.task.metric,
        "judged": done.task.judged,
        "inputs": [_tensor(spec) for spec in done.task.inputs],
        "outputs": [_tensor(spec) for spec in done.task.outputs],
        "classes": list(done.task.classes),
        "variants": [_variant(variant) for variant in done.variants],
        "placements": [placement.id for placement in done.placements],
        "tried": [{"id": tried.id, **tried_document(tried)} for tried in done.tried],
        "failures": [{"variant": failure.variant, "reason": failure.reason} for failure in done.failures],
        "warnings": list(done.warnings),
        "seconds": done.seconds,
    }


def render(console: Console, done: Registered, home: Path) -> None:
    """For people: the family, most accurate first, then what came to nothing and why."""
    console.print(_family(done))
    if done.tried:
        console.print(attempts([tried_document(tried) for tried in done.tried]))
    for failure in done.failures:
        console.print(f"Left out {failure.variant}: {failure.reason}", style="yellow")
    for doubt in done.warnings:
        console.print(f"Warning: {doubt}.", style="yellow")
    counted = f"{several(len(done.variants), 'variant')} in {several(len(done.placements), 'placement')}"
    console.print(f"Release {done.version}: {done.task.name}, {counted}, measured in {done.seconds:.0f} s.")
    console.print(f"modelless up --home {home}", style="dim")


def _family(done: Registered) -> Any:
    columns = ("variant", "made by", "parent", "accuracy", "95 %", "size")
    drawn = table(f"Registered {done.task.name}", columns, numbers=("accuracy", "size"))
    for variant in sorted(done.variants, key=lambda v: -v.accuracy.value):
        accuracy, recipe = variant.accuracy, variant.recipe
        interval = f"{accuracy.low:.3f}–{accuracy.high:.3f}"
        made = (variant.name, recipe.generator, recipe.parent or "–")
        drawn.add_row(*made, f"{accuracy.value:.4f}", interval, size(variant.size_bytes))
    return drawn


def _variant(variant: Variant) -> dict[str, Any]:
    accuracy = variant.accuracy
    return {
        "id": variant.id,
        **_recipe(variant.recipe),
        "accuracy": accuracy.value,
        "accuracy_low": accuracy.low,
        "accuracy_high": accuracy.high,
        "rows": accuracy.rows,
        "size_bytes": variant.size_bytes,
    }


def _recipe(recipe: Recipe) -> dict[str, Any]:
    return {"generator": recipe.generator, "parent": recipe.parent, "parameters": dict(recipe.parameters)}


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}
