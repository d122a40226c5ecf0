"""`modelless generations`: the variants that were asked for in vain, and how far they are; changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.client import connect
from cli.options import home_or_server_options, json_option
from cli.output import say, table

if TYPE_CHECKING:
    from rich.console import Console

    from registry.generations import Generation

NONE = "No generations: nobody has asked for what only a new variant could do."


@click.command()
@home_or_server_options
@json_option
def generations(home: Path, url: str | None, api_key: str | None, as_json: bool) -> None:
    """List the variants that callers asked for in vain, newest first: queued, running, published, dropped or failed."""
    listed = _listed(home) if url is None else _told(url, api_key)

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
            "failed, tried again later" if generation.passing else generation.state.value,
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


def _told(url: str, api_key: str | None) -> tuple[Generation, ...]:
    from registry.documents import from_document
    from registry.generations import Generation

    with connect(url, api_key) as server:
        document = server.get("/v1/generations")
    return tuple(from_document(Generation, each) for each in document["generations"])
