"""`capacity` shows the last plan of a running platform, with what was expected, done, and why."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from cli.main import main

PLANNED = {
    "budget_usd_per_h": None,
    "at": 1_700_000_000.0,
    "usd_per_h": 0.0259,
    "demands": [
        {"task": "digits", "probability": 0.125, "rate_per_s": 2.0, "rows": 3, "slo": {}},
        {"task": "flowers", "probability": 0.5, "rate_per_s": 0.1, "rows": 1, "slo": {}},
    ],
    "actions": [
        {
            "action": "warm",
            "tier": "inline",
            "placement": "digits/linear@inline:1",
            "copies": 1,
            "reason": "12 % in the next minute",
            "result": "failed",
            "why": "no room",
        },
        {
            "action": "unload",
            "tier": "inline",
            "placement": "flowers/large@inline:1",
            "copies": None,
            "reason": "nobody is expected",
            "result": "done",
            "why": "",
        },
    ],
}
EMPTY = {"at": None, "usd_per_h": None, "demands": [], "actions": []}


def asked(answer: dict[str, Any], *arguments: str) -> Any:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=answer))
    return CliRunner().invoke(main, ["capacity", *arguments], obj=transport)


def test_the_last_plan_is_drawn_with_reasons_and_outcomes() -> None:
    result = asked(PLANNED)
    assert result.exit_code == 0
    for text in ("2023-11-14T22:13:20", "$0.0259", "without bound", "12.5%", "failed: no room", "nobody is expected"):
        assert text in result.stdout
    assert result.stdout.index("flowers") < result.stdout.index("digits")


def test_json_is_the_document_itself() -> None:
    assert json.loads(asked(PLANNED, "--json").stdout) == PLANNED


@pytest.mark.parametrize(("budget", "said"), [(0, "the budget is 0"), (1.0, "no plan yet"), (None, "no plan yet")])
def test_without_a_plan_it_is_said_why(budget: float | None, said: str) -> None:
    assert said in asked(EMPTY | {"budget_usd_per_h": budget}).stdout


def test_a_plan_with_nothing_to_do_says_so() -> None:
    result = asked(EMPTY | {"budget_usd_per_h": 0.5, "at": 0.0, "usd_per_h": 0.0})
    assert "budget $0.5" in result.stdout
    assert "Everything is as it should be." in result.stdout
