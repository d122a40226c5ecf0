"""`modelless demo`: registers digits, serves it, asks with different SLOs, shows what was chosen and why."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from cli.ask import render_decision, start_of
from cli.client import Server
from cli.errors import Failed
from cli.home import opened
from cli.options import json_option
from cli.output import dollars, ms, progress, say, screen, table
from cli.register import registered
from cli.running import running
from registry.documents import to_document

if TYPE_CHECKING:
    from rich.console import Console

    from registry.catalogue import Catalogue

TASK = "digits"
FOLLOW_S = 10.0
"""Most seconds until a platform serves a new release; it looks for one twice a second."""

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
    Question("in 5 ms, 99 of 100 times", {"latency_ms": 5, "percentile": 99}),
    Question("for $1 per 100 million", {"max_cost_usd": 1e-8}),
    Question("nothing in particular"),
    Question("the best, no hurry", {"latency_ms": None, "min_accuracy": 0.995}),
    Question("perfect, or not at all", {"min_accuracy": 1.0, "on_infeasible": "strict"}),
    Question("perfect, if possible", {"min_accuracy": 1.0}),
    Question("a batch of 64", {"latency_ms": 50}, rows=64),
    Question("a batch in no time", {"latency_ms": 5}, rows=64),
)
"""In this order: what is warm, and so what is chosen, depends on what was asked before."""

SCALED_TO_ZERO: tuple[Question, ...] = (
    Question("the first of the day", {"latency_ms": 250}),
    Question("the second", {"latency_ms": 250}),
    Question("in 5 ms, or not at all", {"latency_ms": 5, "on_infeasible": "strict"}),
    Question("three at once", {"latency_ms": 250}, times=3),
    Question("cheap, no hurry", {"objective": "cost", "latency_ms": None}),
)
"""Asked where nothing is always on, as on Lambda: environments start when they are needed, and then stay warm."""

EXPLAINED = "in 5 ms, 99 of 100 times"


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
        told = _ask_all(server, QUESTIONS)
        with _scaled_to_zero(home, server):
            cold = _ask_all(server, SCALED_TO_ZERO)
        explained = server.get(f"/v1/decisions/{_decision_to_explain(told)}")
    everything = [*told, *cold]
    say(
        _document(everything, explained),
        as_json=as_json,
        render=lambda _: _render(console, told, cold, explained, home),
    )
    if len(_placements(everything)) < LEAST_PLACEMENTS:
        raise Failed(f"only {len(_placements(everything))} different placements answered, not {LEAST_PLACEMENTS}")


def environments_only(catalogue: Catalogue) -> Catalogue:
    """The catalogue without what is always on: every request then runs in an environment that may have to start."""
    from registry.model import StartMode

    kept = {
        id_ for id_, p in catalogue.placements.items() if catalogue.tiers[p.tier].start_mode is not StartMode.ALWAYS
    }
    document = catalogue.to_document()
    document["placements"] = [to_document(p) for id_, p in catalogue.placements.items() if id_ in kept]
    document["profiles"] = [p for p in document["profiles"] if p["placement"] in kept]
    return type(catalogue).from_document(document)


@contextmanager
def _scaled_to_zero(home: Path, server: Server) -> Iterator[None]:
    """Take what is always on out of the catalogue for as long as the block lasts; the platform follows both ways."""
    from registry.store import update

    with opened(home) as store:
        before = store.head()
        _follow(server, update(store, environments_only, note="demo: nothing is always on").version)
        try:
            yield
        finally:
            store.rollback(before)


def _follow(server: Server, version: int) -> None:
    """Wait until the platform serves a release; raises Failed when it does not."""
    due = time.monotonic() + FOLLOW_S
    while server.post(f"/v1/tasks/{TASK}/plan", {})["catalogue_version"] < version:
        if time.monotonic() > due:
            raise Failed(f"the platform does not follow release {version}")
        time.sleep(0.05)


def _ask_all(server: Server, questions: Sequence[Question]) -> list[Told]:
    from examples.digits import sample

    rows, labels = sample(max(q.rows for q in questions))
    told: list[Told] = []
    with progress("Asking") as step, ThreadPoolExecutor(max(q.times for q in questions)) as callers:
        for place, question in enumerate(questions, 1):
            inputs, expected = rows[: question.rows].tolist(), labels[: question.rows].tolist()
            asked = [callers.submit(_ask, server, question, inputs, expected) for _ in range(question.times)]
            told += [answer.result() for answer in asked]
            step(question.wish, place, len(questions))
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


def _render(console: Console, told: Sequence[Told], cold: Sequence[Told], explained: Any, home: Path) -> None:
    console.print(_drawn("What was asked, and what was chosen", told))
    console.print(_drawn("The same task where nothing is always on, as on Lambda", cold))
    everything = [*told, *cold]
    digits = sum(t.question.rows for t in everything if t.served is not None)
    console.print(
        f"{len(everything)} requests, {len(_placements(everything))} different placements,"
        f" {sum(t.right for t in everything)} of {digits} digits read right.\n"
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


def _drawn(title: str, told: Sequence[Told]) -> Any:
    columns = ("wish", "hints", "variant", "tier", *NUMBERS, "start", "SLO")
    drawn = table(title, columns, numbers=NUMBERS)
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
