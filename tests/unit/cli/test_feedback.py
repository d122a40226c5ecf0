"""`feedback` finds the decision's task, sends the right answers and says what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from click.testing import Result

from gateway.receipts import Statement, sign
from registry.receipt_keys import ReceiptKey

Invoke = Callable[..., Result]

JUDGEMENT = {
    "decision_id": "d1",
    "task": "flowers",
    "variant": "flowers/small",
    "rows": 3,
    "right": 2,
    "accuracy": {"value": 0.8125, "low": 0.7, "high": 0.9, "rows": 48, "method": "wilson"},
    "drifted": False,
    "judged_rows": 40,
}


class Platform:
    """Knows one decision, and answers judgements as told."""

    def __init__(self) -> None:
        self.asked: list[httpx.Request] = []
        self.answer = httpx.Response(200, json=JUDGEMENT)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if request.method == "GET":
            return httpx.Response(200, json={"task": "flowers"})
        return self.answer


@pytest.fixture
def platform() -> Platform:
    return Platform()


@pytest.fixture
def judge(invoke: Invoke, platform: Platform) -> Callable[..., Result]:
    return lambda *arguments, **options: invoke(
        "feedback", "d1", "--expected", *arguments, obj=httpx.MockTransport(platform), **options
    )


def test_it_sends_the_answers_to_the_decisions_task(judge: Callable[..., Result], platform: Platform) -> None:
    shown = judge("[3, 1, 2]").stdout
    assert [(r.method, r.url.path) for r in platform.asked] == [
        ("GET", "/v1/decisions/d1"),
        ("POST", "/v1/tasks/flowers/feedback"),
    ]
    assert json.loads(platform.asked[1].content) == {"decision_id": "d1", "expected": [3, 1, 2]}
    assert "3 rows judged, 2 right" in shown
    assert "flowers/small: accuracy 0.8125 (0.700–0.900, over 48 rows)" in shown
    assert "contradict" not in shown


def test_a_drift_is_pointed_out_and_numbers_have_no_right_rows(
    judge: Callable[..., Result], platform: Platform
) -> None:
    changes: dict[str, Any] = {"drifted": True, "right": None, "rows": 1}
    platform.answer = httpx.Response(200, json={**JUDGEMENT, **changes})
    shown = judge("[1.5]").stdout
    assert "1 row judged\n" in shown
    assert "40 judged rows contradict" in shown


def test_json_is_the_document_alone_and_answers_may_come_from_stdin(judge: Callable[..., Result]) -> None:
    assert json.loads(judge("-", "--json", input="[1, 2, 3]").stdout) == JUDGEMENT


def test_a_refusal_is_a_message_and_a_code(judge: Callable[..., Result], platform: Platform) -> None:
    platform.answer = httpx.Response(409, json={"error": {"code": "already_judged", "message": "has been judged"}})
    result = judge("[1]")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "has been judged" in result.stderr


def test_a_decision_that_is_not_known_is_judged_by_its_receipt(invoke: Invoke) -> None:
    unknown = httpx.Response(404, json={"error": {"code": "unknown", "message": "no decision 'd1' is kept"}})
    result = invoke("feedback", "d1", "--expected", "[1]", obj=httpx.MockTransport(lambda _: unknown))
    assert result.exit_code == 2
    assert "no decision 'd1' is kept (HTTP 404); a stack in the cloud takes the answer's receipt" in result.stderr


def test_what_is_no_json_is_not_sent(judge: Callable[..., Result], platform: Platform) -> None:
    result = judge("[1, 2")
    assert result.exit_code == 2
    assert "--expected is not JSON" in result.stderr
    assert platform.asked == []


ACCEPTED = {"accepted": True, "decision_id": "d1"}


@pytest.fixture
def taking(platform: Platform) -> Platform:
    """A platform that keeps no decisions and takes receipts."""
    platform.answer = httpx.Response(202, json=ACCEPTED)
    return platform


def test_a_saved_answer_is_judged_by_its_receipt_and_asks_nothing_first(
    invoke: Invoke, taking: Platform, tmp_path: Path
) -> None:
    saved = tmp_path / "answer.json"
    saved.write_text(json.dumps({"decision": {"decision_id": "d1", "task": "flowers", "receipt": "7.a.b"}}))

    result = invoke("feedback", "--answer", str(saved), "--expected", "[1]", obj=httpx.MockTransport(taking))

    assert [(r.method, r.url.path) for r in taking.asked] == [("POST", "/v1/tasks/flowers/feedback")]
    assert json.loads(taking.asked[0].content) == {"receipt": "7.a.b", "expected": [1]}
    assert "decision d1 is published within minutes" in result.stdout


def test_a_saved_answer_without_a_receipt_is_judged_by_its_id(invoke: Invoke, platform: Platform) -> None:
    answer = json.dumps({"decision": {"decision_id": "d1", "task": "flowers", "receipt": None}})

    invoke("feedback", "--answer", answer, "--expected", "[1]", obj=httpx.MockTransport(platform))

    assert [(r.method, r.url.path) for r in platform.asked] == [("POST", "/v1/tasks/flowers/feedback")]
    assert json.loads(platform.asked[0].content) == {"decision_id": "d1", "expected": [1]}


def test_a_saved_job_is_judged_by_the_answer_that_it_holds(invoke: Invoke, taking: Platform) -> None:
    answer = {"decision": {"decision_id": "d1", "task": "flowers", "receipt": "7.a.b"}}
    job = json.dumps({"id": "j1", "task": "flowers", "state": "succeeded", "result": answer})

    invoke("feedback", "--answer", job, "--expected", "[1]", obj=httpx.MockTransport(taking))

    assert json.loads(taking.asked[0].content) == {"receipt": "7.a.b", "expected": [1]}


def test_a_receipt_says_its_task(invoke: Invoke, taking: Platform) -> None:
    statement = Statement("d1", "flowers/small", "blake3:a", "acme", 0.0, np.array([1]))
    receipt = sign(statement, ReceiptKey("7", b"k" * 32))
    assert receipt

    result = invoke("feedback", "--receipt", receipt, "--expected", "[1]", "--json", obj=httpx.MockTransport(taking))

    assert [(r.method, r.url.path) for r in taking.asked] == [("POST", "/v1/tasks/flowers/feedback")]
    assert json.loads(result.stdout) == ACCEPTED


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say which answer"),
        (["d1", "--receipt", "7.a.b"], "one of them"),
        (["--receipt", "nothing"], "--receipt: is no receipt"),
        (["--answer", "[]"], "--answer: holds no answer"),
        (["--answer", '{"id": "j1", "state": "queued", "result": null}'], "--answer: holds no answer"),
        (["--answer", '{"decision": {"task": "flowers"}}'], "--answer: holds no answer"),
    ],
)
def test_what_names_no_answer_is_not_sent(invoke: Invoke, platform: Platform, arguments: list[str], said: str) -> None:
    result = invoke("feedback", *arguments, "--expected", "[1]", obj=httpx.MockTransport(platform))

    assert (result.exit_code, platform.asked) == (2, [])
    assert said in result.stderr
