"""`modelless demo`: registers digits, serves it, asks with different SLOs, shows what was chosen and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from cli.ask import render_decision, start_of
from cli.client import Server
from cli.errors import Failed
from cli.options import json_option
from cli.output import dollars, ms, progress, say, screen, table
from cli.register import registered
from cli.running import running

if TYPE_CHECKING:
    from rich.console import Console

TASK = "digits"
LEAST_PLACEMENTS = 4
"""Different placements that the questions below must be answered by; fewer means that nothing was decided."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a caller wants, in their words and as hints."""

    wish: str
    hints: Mapping[str, Any] = field(default_factory=dict)
    rows: int = 1
    times: int = 1
    """Asked this often at once."""


QUESTIONS: tuple[Question, ...] = (
    Question("cheap", {"objective": "cost"}),
    Question("cheap, 0.98 right", {"objective": "cost", "min_accuracy": 0.98}),
    Question("cheap, 0.99 right", {"objective": "cost", "min_accuracy": 0.99}),
    Question("fast", {"objective": "latency"}),
    Question("in 5 ms, 99 times of 100", {"latency_ms": 5, "percentile": 99}),
    Question("for $1 per 100 million", {"max_cost_usd": 1e-8}),
    Question("nothing in particular"),
    Question("the best, no hurry", {"latency_ms": None, "min_accuracy": 0.995}),
    Question("perfect, or not at all", {"min_accuracy": 1.0, "on_infeasible": "strict"}),
    Question("perfect, if possible", {"min_accuracy": 1.0}),
    Question("a batch of 64", {"latency_ms": 50}, rows=64),
    Question("a batch in no time", {"latency_ms": 5}, rows=64),
    Question("a rush of batches", {"latency_ms": 60}, rows=64, times=32),
    Question("one more batch", {"latency_ms": 50}, rows=64),
)
"""In this order: what is warm, and so what is chosen, depends on what was asked before."""

EXPLAINED = "in 5 ms, 99 times of 100"


@dataclass(frozen=True, slots=True)
class Told:
    """A question and one answer or refusal."""

    question: Question
    status: int
    document: Mapping[str, Any]
    right: int = 0
    """How many of its digits were read right."""

    @property
    def served(self) -> Mapping[str, Any] | None:
        """The decision, or None when it was refused."""
        served: Mapping[str, Any] | None = self.document.get("decision")
        return served


@click.command()
@click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".modelless/demo"),
    show_default=True,
    help="Folder of the demo's own catalogue and blobs.",
)
@json_option
def demo(home: Path, as_json: bool) -> None:
    """Register digits, serve it, and show what is chosen for different SLOs, and why.

    Ends with an error unless the answers came from at least four different placements.
    """
    console = screen(stderr=as_json)
    console.print("Modelless: name a task, hint an SLO, get a prediction.\n", style="bold")
    done = registered(TASK, home, quick=True)
    console.print(
        f"Trained {len(done.variants)} variants of {TASK!r} and measured each on {len(done.placements)} placements"
        f" in {done.seconds:.0f} s (release {done.version})."
    )
    with running(home) as platform, Server(platform.url) as server:
        console.print(f"Serving at {platform.url}; asking over HTTP.\n")
        told = _ask_all(server)
        explained = server.get(f"/v1/decisions/{_decision_to_explain(told)}")
    say(_document(told, explained), as_json=as_json, render=lambda _: _render(console, told, explained, home))
    if len(_placements(told)) < LEAST_PLACEMENTS:
        raise Failed(f"only {len(_placements(told))} different placements answered; expected {LEAST_PLACEMENTS}")


def _ask_all(server: Server) -> list[Told]:
    from examples.digits import sample

    rows, labels = sample(max(q.rows for q in QUESTIONS))
    told: list[Told] = []
    with progress("Asking") as step, ThreadPoolExecutor(max(q.times for q in QUESTIONS)) as callers:
        for place, question in enumerate(QUESTIONS, 1):
            inputs, expected = rows[: question.rows].tolist(), labels[: question.rows].tolist()
            asked = [callers.submit(_ask, server, question, inputs, expected) for _ in range(question.times)]
            told += [answer.result() for answer in asked]
            step(question.wish, place, len(QUESTIONS))
    return told


def _ask(server: Server, question: Question, inputs: list[Any], expected: Sequence[int]) -> Told:
    status, document = server.exchange(f"/v1/tasks/{TASK}/predict", {"inputs": inputs, "slo": dict(question.hints)})
    if status >= 500:
        raise Failed(f"{question.wish}: {document['error']['message']} (HTTP {status})")
    given = document["outputs"]["label"] if status == 200 else ()
    return Told(question, status, document, sum(a == b for a, b in zip(given, expected, strict=False)))


def _decision_to_explain(told: Iterable[Told]) -> str:
    served = next(t.served for t in told if t.question.wish == EXPLAINED)
    if served is None:
        raise Failed(f"{EXPLAINED}: was refused")
    return str(served["decision_id"])


def _placements(told: Iterable[Told]) -> set[str]:
    return {t.served["placement"] for t in told if t.served is not None}


def _document(told: Sequence[Told], explained: Any) -> dict[str, Any]:
    return {
        "requests": [
            {
                "wish": t.question.wish,
                "slo": dict(t.question.hints),
                "rows": t.question.rows,
                "status": t.status,
                "right": t.right,
                "decision": t.served,
                "error": t.document.get("error"),
            }
            for t in told
        ],
        "placements": sorted(_placements(told)),
        "explained": explained,
    }


def _render(console: Console, told: Sequence[Told], explained: Any, home: Path) -> None:
    console.print(_drawn(told))
    digits = sum(t.question.rows for t in told if t.served is not None)
    console.print(
        f"{len(told)} requests, {len(_placements(told))} different placements,"
        f" {sum(t.right for t in told)} of {digits} digits read right.\n"
    )
    console.print(f'Why, for "{EXPLAINED}":', style="bold")
    render_decision(console, explained)
    console.print("\nTry next:", style="bold")
    for command in (
        f"modelless up --home {home}",
        f"modelless plan {TASK} --latency-ms 2 --percentile 99",
        f"modelless variants {TASK} --home {home}",
        f"modelless frontier {TASK}",
    ):
        console.print(f"  {command}")


NUMBERS = ("predicted ms", "actual ms", "accuracy", "$ per million")


def _drawn(told: Sequence[Told]) -> Any:
    columns = ("wish", "hints", "variant", "tier", *NUMBERS, "start", "SLO")
    drawn = table("What was asked, and what was chosen", columns, numbers=NUMBERS)
    for alike in _grouped(told):
        question = alike[0].question
        wish = question.wish if question.times == 1 else f"{question.wish}, {len(alike)} of {question.times}"
        hints = "\n".join(f"{name}={_shown(value)}" for name, value in question.hints.items())
        drawn.add_row(wish, hints, *_outcome(alike))
    return drawn


def _grouped(told: Sequence[Told]) -> list[list[Told]]:
    """Answers to one question from one placement, cold or warm, together; in order of the first of each."""
    groups: dict[tuple[Any, ...], list[Told]] = {}
    for one in told:
        served = one.served or {}
        kind = (one.question.wish, one.status, served.get("placement"), served.get("cold_start"))
        groups.setdefault(kind, []).append(one)
    return list(groups.values())


def _outcome(alike: Sequence[Told]) -> tuple[str, ...]:
    """What came of them: the median of what differs from answer to answer."""
    decisions = [one.served for one in alike if one.served is not None]
    if not decisions:
        return ("–", "–", "–", "–", "–", "–", "–", f"refused, {alike[0].status}{_advice(alike[0].document['error'])}")
    first = decisions[0]
    return (
        str(first["variant"]).partition("/")[2],
        str(first["tier"]),
        ms(median(d["predicted_latency_ms"] for d in decisions)),
        ms(median(d["latency_ms"] for d in decisions)),
        f"{first['accuracy']:.4f}",
        dollars(median(d["cost_usd"] for d in decisions)),
        start_of(first),
        _met(decisions),
    )


def _met(decisions: Sequence[Mapping[str, Any]]) -> str:
    if len(decisions) > 1:
        return f"{sum(d['slo_met'] for d in decisions)} of {len(decisions)} met"
    return "met" if decisions[0]["slo_met"] else f"broke {', '.join(decisions[0]['broken'])}"


def _advice(error: Mapping[str, Any]) -> str:
    if error.get("nearest"):
        nearest = {name: value for name, value in error["nearest"].items() if name in error.get("broken", ())}
        return f": nearest {', '.join(f'{name}={_shown(value)}' for name, value in nearest.items())}"
    if error.get("retry_after_s"):
        return f": again in {error['retry_after_s']:.2g} s"
    return ""


def _shown(value: Any) -> str:
    return "none" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
