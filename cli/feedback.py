"""`modelless feedback`: right answers for what was answered; judges nothing itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from cli.ask import read_json
from cli.client import connect
from cli.options import json_option, server_options
from cli.output import say

if TYPE_CHECKING:
    from rich.console import Console


@click.command()
@click.argument("decision_id")
@click.option(
    "--expected",
    required=True,
    help="The right answers, one for each row of the request: a JSON list, a file of it, or - for stdin.",
)
@server_options
@json_option
def feedback(decision_id: str, expected: str, url: str, api_key: str | None, as_json: bool) -> None:
    """Say what the answer to DECISION_ID should have been; its variant's accuracy follows.

    \b
    modelless feedback 4f1d... --expected '[3]'
    """
    body = {"decision_id": decision_id, "expected": read_json(expected, "--expected")}
    with connect(url, api_key) as server:
        task = server.get(f"/v1/decisions/{quote(decision_id, safe='')}")["task"]
        judgement = server.post(f"/v1/tasks/{quote(task, safe='')}/feedback", body)
    say(judgement, as_json=as_json, render=lambda console: _render(console, judgement))


def _render(console: Console, judgement: dict[str, Any]) -> None:
    rows, accuracy = judgement["rows"], judgement["accuracy"]
    judged = f"{rows} row{'s' if rows > 1 else ''} judged"
    console.print(judged if judgement["right"] is None else f"{judged}, {judgement['right']} right")
    console.print(
        f"{judgement['variant']}: accuracy {accuracy['value']:.4f}"
        f" ({accuracy['low']:.3f}–{accuracy['high']:.3f}, over {accuracy['rows']} rows)"
    )
    if judgement["drifted"]:
        console.print(
            f"Its last {judgement['judged_rows']} judged rows contradict what it was registered with, and count alone.",
            style="yellow",
        )
