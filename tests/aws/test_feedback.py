"""Judgements get from the api through the queue into the log, once each, and the catalogue follows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from infra.rehearsal.mapping import deliver
from infra.rehearsal.stack import Rehearsal
from registry.stores.dynamodb import DynamoStore

Event = Callable[..., dict[str, Any]]
Invoke = Callable[[str, Any], Any]

FUNCTION = "FeedbackFunction:live"
EXPECTED = [9, 0, 8]
"""What the last three digits are."""


Ask = Callable[[int], str]


@pytest.fixture
def ask(pushed: dict[str, Any], invoke: Invoke, event: Event, rows: list[list[float]]) -> Ask:
    """Asks as the task's owner for three rows so many times over, and gives back the answer's receipt."""

    def answered(times: int = 1) -> str:
        body = {"inputs": rows * times}
        answer = invoke("ApiFunction:live", event("http-api-iam", "POST", "/v1/tasks/numbers/predict", body))
        assert answer["statusCode"] == 200, answer
        return str(json.loads(answer["body"])["decision"]["receipt"])

    return answered


def judged(invoke: Invoke, event: Event, receipt: str, expected: list[int], door: str = "http-api-iam") -> Any:
    """What the api says to a judgement."""
    body = {"receipt": receipt, "expected": expected}
    return invoke("ApiFunction:live", event(door, "POST", "/v1/tasks/numbers/feedback", body))


def test_judgements_move_an_accuracy_once_however_often_they_come(
    ask: Ask, invoke: Invoke, event: Event, clients: Mapping[str, Any], stack: Rehearsal
) -> None:
    queue, store = stack.names.refs["FeedbackQueue"], DynamoStore(stack.outputs["TableName"])
    (before,), version = store.load().variants_of("numbers"), store.head()
    receipt, wrong = ask(20), [(digit + 1) % 10 for digit in EXPECTED] * 20
    for _ in range(2):
        assert judged(invoke, event, receipt, wrong)["statusCode"] == 202

    delivered = deliver(clients, queue, FUNCTION)
    assert (len(delivered.taken), delivered.failed, delivered.error) == (2, (), None)
    (after,) = store.load().variants_of("numbers")
    assert (store.head(), after.artifact) == (version + 1, before.artifact)
    assert after.accuracy.value < before.accuracy.low
    # They contradict its evaluation, so they count alone; and once.
    assert after.accuracy.rows == 60
    assert deliver(clients, queue, FUNCTION).taken == ()


def test_what_cannot_be_read_is_delivered_again_and_ends_among_the_dead_letters(
    ask: Ask, invoke: Invoke, event: Event, clients: Mapping[str, Any], stack: Rehearsal
) -> None:
    queue, dead = stack.names.refs["FeedbackQueue"], stack.names.refs["FeedbackDeadLetters"]
    clients["sqs"].send_message(QueueUrl=queue, MessageBody="not a judgement")
    judged(invoke, event, ask(), EXPECTED)

    first = deliver(clients, queue, FUNCTION)
    assert (len(first.taken), len(first.failed), first.error) == (2, 1, None)
    again = [deliver(clients, queue, FUNCTION) for _ in range(4)]
    assert [d.failed for d in again] == [first.failed] * 4
    assert deliver(clients, queue, FUNCTION).taken == ()
    (letter,) = clients["sqs"].receive_message(QueueUrl=dead)["Messages"]
    assert letter["Body"] == "not a judgement"


def test_only_who_was_answered_judges(ask: Ask, invoke: Invoke, event: Event) -> None:
    receipt = ask()
    forged = receipt[:-4] + ("BBBB" if receipt.endswith("AAAA") else "AAAA")
    assert judged(invoke, event, forged, EXPECTED)["statusCode"] == 403
    assert judged(invoke, event, receipt, EXPECTED, "function-url")["statusCode"] == 404
