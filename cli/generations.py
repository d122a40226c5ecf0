"""`modelless generations`: the variants that were asked for in vain, and how far they are; changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.options import home_option, json_option
from cli.output import say, table

if TYPE_CHECKING:
    from rich.console import Console

    from registry.generations import Generation

NONE = "No generations: nobody has asked for what only a new variant could do."


@click.command()
@home_option
@json_option
def generations(home: Path, as_json: bool) -> None:
    """List the variants that callers asked for in vain, newest first: queued, running, published, dropped or failed."""
    listed = _listed(home)

    def render(console: Console) -> None:
        console.print(drawn(listed))

    say({"generations": [document(generation) for generation in listed]}, as_json=as_json, render=render)


def document(generation: Generation) -> dict[str, Any]:
    """A generation as JSON."""
    from registry.documents import to_document

    made: dict[str, Any] = to_document(generation)
    return made


def drawn(listed: Sequence[Generation]) -> Any:
    """Generations as a table, or a sentence where there are none."""
    if not listed:
        return NONE
    rows = table("Generations", ("generation", "variant", "made by", "with", "state", "since", "reason"))
    for generation in listed:
        since = generation.ended_at or generation.started_at or generation.queued_at
        parameters = ", ".join(f"{name}={value}" for name, value in generation.recipe.parameters)
        made_by = f"{generation.recipe.generator} of {generation.recipe.parent}"
        rows.add_row(
            generation.id,
            f"{generation.task}/{generation.variant}",
            made_by,
            parameters,
            generation.state.value,
            since,
            generation.reason,
        )
    return rows


def _listed(home: Path) -> tuple[Generation, ...]:
    from registry.stores.generations import FILE, SqliteGenerations

    if not (home / FILE).exists():  # A question creates nothing.
        return ()
    opened = SqliteGenerations(home / FILE)
    try:
        return opened.generations()
    finally:
        opened.close()
