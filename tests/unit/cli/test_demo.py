"""The demo's table: answers alike are one row, refusals say what to ask instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cli.demo import (
    QUESTIONS,
    SCALED_TO_ZERO,
    Question,
    Told,
    _document,
    _drawn,
    _placements,
    environments_only,
)
from cli.home import opened
from cli.output import screen
from registry.model import Placement
from registry.prices import local_tiers

RUSH = Question("a rush", {"latency_ms": 60}, rows=64, times=3)


def told(question: Question, placement: str, latency_ms: float, **changes: Any) -> Told:
    variant, _, tier = placement.partition("@")
    served = {
        "placement": placement,
        "variant": variant,
        "tier": tier,
        "predicted_latency_ms": 5.0,
        "latency_ms": latency_ms,
        "accuracy": 0.97,
        "cost_usd": 1e-6,
        "cold_start": False,
        "loaded": False,
        "slo_met": latency_ms <= 60,
        "broken": [],
    }
    return Told(question, 200, {"decision": served | changes}, right=64)


ANSWERS = [
    told(RUSH, "digits/a@inline", 10),
    told(RUSH, "digits/b@process", 90, cold_start=True),
    told(RUSH, "digits/a@inline", 70),
    Told(
        Question("perfect", {"min_accuracy": 1.0}),
        422,
        {"error": {"message": "no", "broken": ["min_accuracy"], "nearest": {"min_accuracy": 0.97, "latency_ms": 9}}},
    ),
]


def drawn() -> list[str]:
    console = screen()
    with console.capture() as capture:
        console.print(_drawn("asked", ANSWERS))
    return [" ".join(line.split()) for line in capture.get().splitlines()]


def test_answers_alike_are_one_row_with_their_median() -> None:
    assert "a rush, 2 of 3 latency_ms=60 a inline 5.00 40.0 0.9700 1 warm 1 of 2 met" in drawn()


def test_a_cold_answer_stands_alone() -> None:
    assert any(line.startswith("a rush, 1 of 3 latency_ms=60 b process 5.00 90.0 0.9700 1 cold") for line in drawn())


def test_a_refusal_names_the_nearest_slo() -> None:
    assert "refused, 422: nearest min_accuracy=0.97" in " ".join(drawn())


def test_document_keeps_every_answer() -> None:
    document = _document(ANSWERS, {"why": "so"})

    assert [r["status"] for r in document["requests"]] == [200, 200, 200, 422]
    assert document["placements"] == sorted(_placements(ANSWERS)) == ["digits/a@inline", "digits/b@process"]
    assert document["explained"] == {"why": "so"}


def test_there_are_enough_different_questions() -> None:
    asked = (*QUESTIONS, *SCALED_TO_ZERO)

    assert len({q.wish for q in asked}) == len(asked)
    assert len({str(q.hints) for q in QUESTIONS}) >= 8


def test_nothing_that_is_always_on_stays(home: Path) -> None:
    with opened(home) as store:
        catalogue = store.load()
    lambda_like = local_tiers()[1]
    elsewhere = Placement("flowers/small", lambda_like.name)
    left = environments_only(catalogue.with_tiers(lambda_like).with_placements(elsewhere))

    assert list(left.placements) == [elsewhere.id]
    assert left.profiles == {}
    assert left.tasks == catalogue.tasks
