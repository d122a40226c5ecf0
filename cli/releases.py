"""`modelless history` and `rollback`: the catalogue's releases; a rollback is a new release, nothing is erased."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.errors import BadInput
from cli.home import opened
from cli.options import json_option, store_options
from cli.output import say
from cli.output import table as drawn_table

if TYPE_CHECKING:
    from rich.console import Console


@click.command()
@store_options
@json_option
def history(home: Path, stack: str | None, table: str | None, as_json: bool) -> None:
    """List the catalogue's releases, newest first."""
    with opened(home, stack, table) as store:
        releases = sorted(store.history(), key=lambda release: -release.version)
    rows = [{"version": r.version, "published_at": r.published_at, "note": r.note} for r in releases]

    def render(console: Console) -> None:
        drawn = drawn_table("Releases", ("version", "published", "note"), numbers=("version",))
        for row in rows:
            drawn.add_row(str(row["version"]), str(row["published_at"]), str(row["note"]))
        console.print(drawn)

    say({"releases": rows}, as_json=as_json, render=render)


@click.command()
@click.argument("version", type=click.IntRange(min=1), required=False)
@store_options
@json_option
def rollback(version: int | None, home: Path, stack: str | None, table: str | None, as_json: bool) -> None:
    """Publish release VERSION again (by default the one before the newest).

    Running servers follow by themselves.
    """
    with opened(home, stack, table) as store:
        head = store.head()
        target = head - 1 if version is None else version
        if not 0 < target < head:
            past = f"choose 1 to {head - 1}" if head > 1 else "there is no release before the newest"
            raise BadInput(f"cannot roll back to version {target}: the newest is {head}; {past}")
        catalogue = store.rollback(target)

    def render(console: Console) -> None:
        console.print(f"Release {catalogue.version} is release {target} again ({len(catalogue.tasks)} tasks).")

    document = {"version": catalogue.version, "rolled_back_to": target, "tasks": sorted(catalogue.tasks)}
    say(document, as_json=as_json, render=render)
