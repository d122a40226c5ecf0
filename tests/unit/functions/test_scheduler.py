"""The scheduler function answers what would be chosen, from the facts and the environments it is told of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from registry.catalogue import Catalogue
from registry.errors import InvalidValue, NotFound
from registry.model import Objective, Slo
from scheduler.choose import choose
from scheduler.fleet import Fleet
from scheduler.requests import Request

SMALL = "lambda-1769-snapstart"
Answer = Callable[..., dict[str, Any]]


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch, catalogue: Catalogue) -> Answer:
    """The function's answer over the small catalogue."""
    monkeypatch.setenv("TABLE_NAME", "facts")
    from functions.scheduler import app

    return lambda event: app.answer(event, catalogue, 0.0)


def test_it_answers_as_the_scheduler_decides(answer: Answer, catalogue: Catalogue) -> None:
    decided = choose(Request("sum", Slo(objective=Objective.COST), 2), catalogue, Fleet.empty(catalogue), 0.0)

    document = answer({"task": "sum", "slo": {"objective": "cost"}, "rows": 2})

    assert document["chosen"]["placement"] == decided.ranked[0].placement.id
    assert [entry["placement"] for entry in document["ranked"]] == [e.placement.id for e in decided.ranked]
    assert document["why_not"] == dict(decided.why_not())


def test_an_environment_it_is_told_of_is_counted_on(answer: Answer) -> None:
    cold = answer({"task": "sum"})
    warm = answer({"task": "sum", "warm": [{"tier": SMALL, "resident": ["sum/fine"]}]})

    def latency(document: dict[str, Any]) -> float:
        found = next(e for e in document["ranked"] if e["placement"].startswith(f"sum/fine@{SMALL}:"))
        return float(found["predicted_latency_ms"])

    assert latency(cold) == pytest.approx(latency(warm) + 25.0, rel=0.05)


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ([], "event"),
        ({"task": "sum", "rows": 0}, "rows"),
        ({"task": "sum", "rows": True}, "rows"),
        ({"task": "sum", "rows": "2"}, "rows"),
        ({"task": "sum", "slo": 5}, "slo"),
        ({"task": "sum", "slo": {"latency_ms": 0}}, "slo.latency_ms"),
        ({"task": "sum", "slo": {"speed": 1}}, "slo.speed"),
        ({"task": "sum", "warm": {}}, "warm"),
        ({"task": "sum", "warm": [3]}, "warm[0]"),
        ({"task": "sum", "warm": [{"tier": "moon"}]}, "warm[0].tier"),
        ({"task": "sum", "warm": [{"tier": []}]}, "warm[0].tier"),
        ({"task": "sum", "warm": [{"tier": SMALL, "resident": "sum/fine"}]}, "warm[0].resident"),
    ],
)
def test_a_wrong_field_is_named(answer: Answer, event: Any, field: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        answer(event)

    assert caught.value.field == field


@pytest.mark.parametrize("task", ["none", None, 3, []])
def test_an_unknown_task_is_not_found(answer: Answer, task: Any) -> None:
    with pytest.raises(NotFound):
        answer({"task": task})
