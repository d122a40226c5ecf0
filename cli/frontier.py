"""`modelless frontier`: a task's trade-off drawn and explained; decides nothing itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import click

from cli.attempts import attempts
from cli.client import connect
from cli.options import json_option, server_options
from cli.output import STALE, dollars, ms, say, table
from cli.scatter import numbered, scatter

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

STARTS = ("resident", "load", "cold")

WORDS = {"resident": "warm and resident", "load": "warm, variant to be loaded", "cold": "from a cold start"}

NARROW = 110
"""Columns under which a table leaves out what can be asked for with --json."""


@click.command()
@click.argument("task")
@click.option("--rows", type=click.IntRange(min=1), default=1, show_default=True, help="Rows of the batch.")
@click.option("--start", type=click.Choice(STARTS), default="resident", show_default=True, help="What a request finds.")
@click.option("--tier", help="Only the placements of one tier.")
@click.option(
    "--png", type=click.Path(dir_okay=False, path_type=Path), help="Draw it into this file too (needs matplotlib)."
)
@server_options
@json_option
def frontier(
    task: str,
    *,
    rows: int,
    start: str,
    tier: str | None,
    png: Path | None,
    url: str,
    api_key: str | None,
    as_json: bool,
) -> None:
    """Show TASK's trade-off: the placements that no other beats on accuracy, latency and cost at once.

    Every other placement is named with who beats it and what speaks for it nevertheless; so is what was tried and is
    no variant.
    """
    race = {"rows": rows, "start": start} | ({} if tier is None else {"tier": tier})
    # What is the default need not be said.
    asked = {name: value for name, value in race.items() if value not in (1, "resident")}
    with connect(url, api_key) as server:
        document = server.get(f"/v1/tasks/{quote(task, safe='')}/frontier{'?' if asked else ''}{urlencode(asked)}")
    title = f"{task}: {rows} row{'s' if rows > 1 else ''}, {WORDS[start]}{f', on {tier}' if tier else ''}"
    if png is not None:
        from cli.figure import save_figure

        save_figure(png, title, document["frontier"])
        click.echo(f"drawn into {png}", err=True)
    say(document, as_json=as_json, render=lambda console: _render(console, title, document))


def _render(console: Console, title: str, document: Mapping[str, Any]) -> None:
    points = document["frontier"]
    console.print(title, style="bold")
    if not points:
        console.print("No placement that was measured takes part.", style="yellow")
    for line in scatter(points, console.width):
        console.print(line)
    numbers = numbered(points)
    ahead = [p for p in points if not p["dominated_by"]]
    if ahead:
        console.print(_drawn("On the frontier", ahead, numbers, console.width))
    dominated = [p for p in points if p["dominated_by"]]
    if dominated:
        console.print(_drawn("Dominated", dominated, numbers, console.width))
    if any(point.get("stale") for point in points):
        console.print(f"{STALE} measured on other hardware; `modelless profile {document['task']}` measures it again")
    if document.get("tried"):
        console.print(attempts(document["tried"]))


def _drawn(title: str, points: Sequence[Mapping[str, Any]], numbers: Mapping[str, str], width: int) -> Table:
    wide = width >= NARROW
    figures = ("accuracy", *(("95 %",) if wide else ()), "p95 ms", "$/M", *(("load ms", "MB") if wide else ()))
    drawn = table(title, ("#", "placement", *figures, "why"), numbers=(*(f for f in figures if f != "95 %"),))
    for point in points:
        cells = {
            "accuracy": f"{point['accuracy']:.4f}",
            "95 %": f"{point['accuracy_low']:.3f}–{point['accuracy_high']:.3f}",
            "p95 ms": ms(point["latency_ms"]) + (STALE if point.get("stale") else ""),
            "$/M": dollars(point["cost_usd"]),
            "load ms": ms(point["load_ms"]),
            "MB": f"{point['memory_mb']:.1f}",
        }
        drawn.add_row(
            numbers.get(point["placement"], ""),
            # The task's name is in the title.
            point["placement"].partition("/")[2] or point["placement"],
            *(cells[name] for name in figures),
            _short(point["reason"], numbers),
            style="dim" if point["dominated_by"] else None,
        )
    return drawn


def _short(reason: str, numbers: Mapping[str, str]) -> str:
    """The reason with the frontier's placements by their numbers; longer ids first, for one may begin another."""
    for placement in sorted(numbers, key=len, reverse=True):
        reason = reason.replace(placement, f"#{numbers[placement]}")
    return reason
