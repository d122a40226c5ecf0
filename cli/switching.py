"""`modelless switching`: what a tier runs at which load, on how many threads, in what batches; runs nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.errors import BadInput, unknown
from cli.home import opened
from cli.options import home_option, json_option
from cli.output import ms, say, table

if TYPE_CHECKING:
    from rich.console import Console

    from registry.catalogue import Catalogue
    from scheduler.switching import Table

FACTORS = (1.0, 1.3, 1.6, 1.9, 2.2)
"""Deadlines that are shown where none is asked for: these times the most accurate variant's 95th percentile."""


@click.command()
@click.argument("task")
@click.option(
    "--deadline-ms", "deadlines", type=float, multiple=True, help="From arrival to deadline; may be repeated."
)
@click.option("--tier", default="container-cpu", show_default=True, help="Where the variants run.")
@click.option("--cores", type=click.IntRange(1, 64), help="Cores to share out.  [default: the tier's vCPUs]")
@home_option
@json_option
def switching(
    task: str, *, deadlines: tuple[float, ...], tier: str, cores: int | None, home: Path, as_json: bool
) -> None:
    """Show, by deadline, which variant a container runs at which load of TASK.

    The table follows from the profiles, as the container's does before it has seen a request: up to each load
    (rows per second) this variant, on these replicas × threads and in batches of so many rows, has the highest
    effective accuracy, P(done by the deadline) × accuracy. Between two rows it mixes their variants.
    """
    from scheduler.ladders import ladder_of, options_of

    if wrong := [deadline for deadline in deadlines if not 0 < deadline < float("inf")]:
        raise BadInput(f"--deadline-ms: {wrong[0]:g} is no deadline; give milliseconds, more than 0")
    with opened(home) as store:
        catalogue = store.load()
    count = _cores(catalogue, tier, cores)
    if task not in catalogue.tasks:
        raise unknown("task", task, catalogue.tasks)
    ladder = ladder_of(catalogue, task, tier)
    if not ladder.rungs:
        raise BadInput(f"nothing of {task} is measured on {tier}; `modelless register {task}` measures it there")
    tables = _trained(options_of(ladder), deadlines, count)
    document = {"task": task, "tier": tier, "cores": count, "deadlines": [_document(made) for made in tables]}
    say(document, as_json=as_json, render=lambda console: _render(console, document))


def _cores(catalogue: Catalogue, tier: str, cores: int | None) -> int:
    if tier not in catalogue.tiers:
        raise unknown("tier", tier, catalogue.tiers)
    return cores or max(1, int(catalogue.tiers[tier].vcpus))


def _trained(options: Sequence[Any], deadlines: Sequence[float], cores: int) -> list[Table]:
    from scheduler.switching import train

    best = options[0].rung.accuracy
    fastest = min(option.service.tail(1) for option in options if option.rung.accuracy == best)
    wanted = [deadline / 1e3 for deadline in deadlines] or [factor * fastest for factor in FACTORS]
    return [train(options, patience_s=patience, cores=float(cores)) for patience in sorted(wanted)]


def _document(made: Table) -> dict[str, Any]:
    """One deadline's settings, by rising load."""
    return {
        "deadline_ms": made.patience_s * 1e3,
        "settings": [
            {
                "up_to_rows_per_s": setting.most_load,
                "variant": setting.option.rung.variant,
                "replicas": setting.replicas,
                "threads": setting.threads,
                "batch": setting.batch,
                "effective_accuracy": setting.effective_accuracy,
            }
            for setting in reversed(made.settings)
        ],
    }


def _render(console: Console, document: dict[str, Any]) -> None:
    title = f"{document['task']} on {document['cores']} cores of {document['tier']}"
    columns = ("deadline (ms)", "up to (rows/s)", "variant", "replicas × threads", "batch", "effective accuracy")
    drawn = table(title, columns, numbers=("deadline (ms)", "up to (rows/s)", "batch", "effective accuracy"))
    for deadline in document["deadlines"]:
        for i, setting in enumerate(deadline["settings"]):
            drawn.add_row(
                ms(deadline["deadline_ms"]) if i == 0 else "",
                f"{setting['up_to_rows_per_s']:,.0f}",
                setting["variant"],
                f"{setting['replicas']} × {setting['threads']}",
                str(setting["batch"]),
                f"{setting['effective_accuracy']:.4f}",
            )
    console.print(drawn)
