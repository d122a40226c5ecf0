"""`modelless predict`, `plan` and `explain`: questions to a running platform; decides nothing itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from cli.client import connect
from cli.errors import BadInput
from cli.inbox import ask
from cli.options import given, json_option, server_options, slo_options
from cli.output import dollars, ms, say, table

if TYPE_CHECKING:
    from rich.console import Console

SHOWN_ROWS = 10
"""Rows of an output tensor that people are shown; --json has them all."""

SHOWN_OTHERS = 12
"""Placements beyond the ranking that people are shown; --json has them all."""

DECISION_NUMBERS = ("p50 ms", "at percentile ms", "accuracy", "effective", "$ per million")


@click.command()
@click.argument("task")
@click.argument("inputs")
@slo_options
@server_options
@json_option
def predict(task: str, inputs: str, url: str, api_key: str | None, as_json: bool, **hints: Any) -> None:
    """Answer INPUTS under TASK: a JSON file, - for stdin, or the JSON itself.

    \b
    The JSON is an object of tensors by name, rows first, or the rows alone where the task has one input:
      modelless predict digits '[[0, 0, 5, ...]]' --latency-ms 20
    """
    read = read_json(inputs, "INPUTS")
    with connect(url, api_key) as server:
        answer = ask(server, f"/v1/tasks/{quote(task, safe='')}/predict", read, given(**hints))
    say(answer, as_json=as_json, render=lambda console: render_answer(console, answer))


@click.command()
@click.argument("task")
@click.option("--rows", type=click.IntRange(min=1), default=1, show_default=True, help="Rows of the batch.")
@slo_options
@server_options
@json_option
def plan(task: str, rows: int, url: str, api_key: str | None, as_json: bool, **hints: Any) -> None:
    """Ask what would be chosen now for TASK, and why; runs nothing."""
    with connect(url, api_key) as server:
        decision = server.post(f"/v1/tasks/{quote(task, safe='')}/plan", {"rows": rows, "slo": given(**hints)})
    say(decision, as_json=as_json, render=lambda console: render_decision(console, decision))


@click.command()
@click.argument("decision_id")
@server_options
@json_option
def explain(decision_id: str, url: str, api_key: str | None, as_json: bool) -> None:
    """Explain a past decision: what was expected, what came of it, why every other placement was not chosen."""
    with connect(url, api_key) as server:
        explanation = server.get(f"/v1/decisions/{quote(decision_id, safe='')}")
    say(explanation, as_json=as_json, render=lambda console: render_decision(console, explanation))


def render_decision(console: Console, decision: dict[str, Any]) -> None:
    """Draw a plan or an explanation for people."""
    console.print(f"{decision['task']}, {decision['rows']} row(s) under {_bounds(decision['slo'])}")
    if decision["chosen"] is not None:
        console.print(f"Chosen: {decision['chosen']['placement']}: {decision['reason']}", style="bold")
    if not decision["feasible"]:
        console.print(f"No placement holds {', '.join(decision['broken']) or 'the SLO'}.", style="yellow")
    if decision["nearest"] is not None:
        console.print(f"Nearest SLO that can be held: {_bounds(decision['nearest'])}")
    console.print(_ranking(decision))
    _render_rest(console, decision)
    _render_outcome(console, decision)


def _bounds(slo: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in slo.items() if value is not None)


def _ranking(decision: dict[str, Any]) -> Any:
    columns = ("#", "placement", *DECISION_NUMBERS, "start", "why not")
    drawn = table("Ranking", columns, numbers=("#", *DECISION_NUMBERS))
    for place, estimate in enumerate(decision["ranked"], 1):
        drawn.add_row(
            str(place),
            estimate["placement"],
            ms(estimate["p50_ms"]),
            ms(estimate["predicted_latency_ms"]),
            f"{estimate['accuracy']:.4f}",
            f"{estimate['effective_accuracy']:.4f}",
            dollars(estimate["cost_usd"]),
            "cold" if estimate["cold"] else "load" if estimate["load"] else "warm",
            decision["why_not"].get(estimate["placement"], ""),
        )
    return drawn


def _render_rest(console: Console, decision: dict[str, Any]) -> None:
    """The reasons of placements that the ranking does not list."""
    listed = {estimate["placement"] for estimate in decision["ranked"]}
    rest = [(p, reason) for p, reason in decision["why_not"].items() if p not in listed]
    if not rest:
        return
    drawn = table("The others", ("placement", "why not"))
    for placement, reason in rest[:SHOWN_OTHERS]:
        drawn.add_row(placement, reason)
    console.print(drawn)
    if len(rest) > SHOWN_OTHERS:
        console.print(f"… and {len(rest) - SHOWN_OTHERS} more; --json has them all", style="dim")


def _render_outcome(console: Console, decision: dict[str, Any]) -> None:
    served, error = decision.get("served"), decision.get("error")
    if served:
        console.print(
            f"Served by {served['placement']} in {ms(served['latency_ms'])} ms"
            f" (predicted {ms(served['predicted_latency_ms'])} ms), {start_of(served)}, {met(served)}."
        )
    if error:
        console.print(f"Failed: {error['message']}", style="red")


def start_of(served: Mapping[str, Any]) -> str:
    """`cold` when an environment started, `loaded` when only the variant was loaded, else `warm`."""
    return "cold" if served["cold_start"] else "loaded" if served["loaded"] else "warm"


def met(served: dict[str, Any]) -> str:
    """Whether the SLO was met, and which bounds broke."""
    return "SLO met" if served["slo_met"] else f"SLO not met: {', '.join(served['broken'])}"


def render_answer(console: Console, answer: dict[str, Any]) -> None:
    """Draw an answer for people."""
    for name, values in answer["outputs"].items():
        shown = values[:SHOWN_ROWS] if isinstance(values, list) else values
        more = f" … {len(values) - SHOWN_ROWS} more" if isinstance(values, list) and len(values) > SHOWN_ROWS else ""
        console.print(f"{name}: {json.dumps(shown)}{more}")
    served = answer["decision"]
    console.print(
        f"by {served['variant']} on {served['tier']} in {ms(served['latency_ms'])} ms"
        f" (predicted {ms(served['predicted_latency_ms'])} ms), {start_of(served)}, accuracy {served['accuracy']:.4f},"
        f" ${dollars(served['cost_usd'])} per million, {met(served)}"
    )
    console.print(f"modelless explain {served['decision_id']}", style="dim")


def read_json(inputs: str, name: str) -> Any:
    """The JSON of a file, of stdin (-) or of the argument `name` itself; raises BadInput."""
    if inputs.lstrip().startswith(("{", "[")):
        text, where = inputs, name
    elif inputs == "-":
        text, where = sys.stdin.read(), "stdin"
    else:
        where = inputs
        try:
            text = Path(inputs).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"{inputs}: {error}; give a JSON file, - for stdin, or the JSON itself") from error
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadInput(f"{where} is not JSON: {error}") from error
