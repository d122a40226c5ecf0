"""`modelless feedback`: right answers for what was answered; judges nothing itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from cli.ask import read_json
from cli.client import Server, connect
from cli.errors import BadInput
from cli.options import json_option, server_options
from cli.output import say

if TYPE_CHECKING:
    from rich.console import Console


@click.command()
@click.argument("decision_id", required=False)
@click.option(
    "--expected",
    required=True,
    help="The right answers, one for each row of the request: a JSON list, a file of it, or - for stdin.",
)
@click.option("--receipt", help="That came with the answer, in place of DECISION_ID: a stack in the cloud wants it.")
@click.option(
    "--answer",
    help="The answer as `predict` or `jobs ID` printed it with --json, in a file: its receipt or its id is taken.",
)
@server_options
@json_option
def feedback(
    decision_id: str | None,
    *,
    expected: str,
    receipt: str | None,
    answer: str | None,
    url: str,
    api_key: str | None,
    as_json: bool,
) -> None:
    """Say what the answer to DECISION_ID should have been; its variant's accuracy follows.

    \b
    modelless feedback 4f1d... --expected '[3]'
    modelless predict digits '[[0, 0, 5, ...]]' --json > answer.json
    modelless feedback --answer answer.json --expected '[3]'
    """
    which, task = _which(decision_id, receipt, answer)
    body = {**which, "expected": read_json(expected, "--expected")}
    with connect(url, api_key) as server:
        task = task or _task_of_decision(server, which["decision_id"])
        judgement = server.post(f"/v1/tasks/{quote(task, safe='')}/feedback", body)
    say(judgement, as_json=as_json, render=lambda console: _render(console, judgement))


def _which(decision_id: str | None, receipt: str | None, answer: str | None) -> tuple[dict[str, str], str | None]:
    """The field that names an answer, and the answer's task where that is known."""
    if sum(given is not None for given in (decision_id, receipt, answer)) != 1:
        raise BadInput("say which answer: give DECISION_ID, --receipt or --answer, one of them")
    if answer is not None:
        return _of_answer(read_json(answer, "--answer"))
    if receipt is not None:
        return {"receipt": receipt}, _task_of(receipt)
    return {"decision_id": str(decision_id)}, None


def _of_answer(answer: Any) -> tuple[dict[str, str], str]:
    try:
        decision = (answer.get("result") or answer)["decision"]  # a job holds its answer
        named = {name: decision[name] for name in ("receipt", "decision_id") if decision.get(name)}
        name = next(iter(named))
        return {name: str(named[name])}, str(decision["task"])
    except (AttributeError, KeyError, StopIteration, TypeError):
        raise BadInput("--answer: holds no answer; save what `predict` or `jobs ID` prints with --json") from None


def _task_of_decision(server: Server, decision_id: str) -> str:
    try:
        return str(server.get(f"/v1/decisions/{quote(decision_id, safe='')}")["task"])
    except BadInput as error:
        raise BadInput(
            f"{error.message}; a stack in the cloud takes the answer's receipt: give --receipt, or --answer"
        ) from error


def _task_of(receipt: str) -> str:
    from gateway.errors import Unprocessable
    from gateway.receipts import claimed_task

    try:
        return claimed_task(receipt)
    except Unprocessable as error:
        raise BadInput(f"--{error}") from None


def _render(console: Console, judgement: dict[str, Any]) -> None:
    if "accuracy" not in judgement:
        console.print(f"Taken: what follows from decision {judgement['decision_id']} is published within minutes.")
        return
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
