"""`modelless jobs`: the variants that were asked for in vain, and how far they are; changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.options import home_option, json_option
from cli.output import say, table

if TYPE_CHECKING:
    from rich.console import Console

    from registry.jobs import Job

NONE = "No jobs: nobody has asked for what only a new variant could do."


@click.command()
@home_option
@json_option
def jobs(home: Path, as_json: bool) -> None:
    """List the variants that callers asked for in vain, newest first: queued, running, published, dropped or failed."""
    listed = _listed(home)

    def render(console: Console) -> None:
        console.print(drawn(listed))

    say({"jobs": [document(job) for job in listed]}, as_json=as_json, render=render)


def document(job: Job) -> dict[str, Any]:
    """A job as JSON."""
    from registry.documents import to_document

    made: dict[str, Any] = to_document(job)
    return made


def drawn(listed: Sequence[Job]) -> Any:
    """Jobs as a table, or a sentence where there are none."""
    if not listed:
        return NONE
    rows = table("Jobs", ("job", "variant", "made by", "with", "state", "since", "reason"))
    for job in listed:
        since = job.ended_at or job.started_at or job.queued_at
        parameters = ", ".join(f"{name}={value}" for name, value in job.recipe.parameters)
        made_by = f"{job.recipe.generator} of {job.recipe.parent}"
        rows.add_row(job.id, f"{job.task}/{job.variant}", made_by, parameters, job.state.value, since, job.reason)
    return rows


def _listed(home: Path) -> tuple[Job, ...]:
    from registry.stores.jobs import FILE, SqliteJobs

    if not (home / FILE).exists():  # A question creates nothing.
        return ()
    opened = SqliteJobs(home / FILE)
    try:
        return opened.jobs()
    finally:
        opened.close()
