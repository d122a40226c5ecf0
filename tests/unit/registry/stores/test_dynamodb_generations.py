"""What a process that is cut off leaves in the table keeps nobody from making the same variant."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.fault_client import RepeatingClient
from registry.errors import InvalidValue, NotFound
from registry.generations import Asked, GenerationState
from registry.model import Recipe, Slo
from registry.stores.dynamodb_claims import DynamoClaims
from registry.stores.dynamodb_generations import KEPT_S, PARTITION, DynamoGenerations
from registry.stores.dynamodb_table import DynamoTable

NOW = 1_790_000_000.0


class Late:
    """A client that lets somebody else go first, once, before it keeps a generation."""

    def __init__(self, client: Any, other: Callable[[], object]) -> None:
        self._client, self._other = client, [other]

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._client, name)

        def late(**request: Any) -> Any:
            if '"generation"' in json.dumps(request) and self._other:
                self._other.pop()()
            return operation(**request)

        return late if name in ("put_item", "transact_write_items") else operation


def test_of_two_who_queue_one_recipe_at_once_both_have_one_generation(table: DynamoTable) -> None:
    made = []
    other = DynamoGenerations(table, wall=lambda: NOW)
    late = Late(table.client, lambda: made.append(other.queue("t", "v", "v", Recipe("int8", "p"), basis="b")))
    log = DynamoGenerations(DynamoTable("facts", late), wall=lambda: NOW)  # type: ignore[arg-type]
    assert [log.queue("t", "v", "v", Recipe("int8", "p"), basis="b")] == made
    assert log.generations() == tuple(made)


def test_what_was_moved_and_not_heard_of_is_moved(table: DynamoTable) -> None:
    log = DynamoGenerations(DynamoTable("facts", RepeatingClient(table.client)), wall=lambda: NOW)  # type: ignore[arg-type]
    made = log.queue("t", "v", "v", Recipe("int8", "p"), basis="b")
    for state in (GenerationState.RUNNING, GenerationState.PUBLISHED):
        assert log.move(made.id, state).state is state


def test_a_claim_without_its_generation_is_taken_over(table: DynamoTable) -> None:
    log = DynamoGenerations(table, wall=lambda: NOW)
    lost = log.queue("t", "v", "v", Recipe("int8", "p"), basis="b")
    table.client.delete_item(TableName="facts", Key={"pk": {"S": PARTITION}, "sk": {"S": lost.id}})
    assert log.generations() == ()
    made = log.queue("t", "v", "v", Recipe("int8", "p"), basis="b")
    assert log.generations() == (made,)


def test_a_claim_that_outlived_its_generation_is_taken_over(
    table: DynamoTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = DynamoGenerations(table, wall=lambda: NOW)
    made = log.queue("t", "v", "v", Recipe("int8", "p"), basis="b")
    log.move(made.id, GenerationState.RUNNING)
    with monkeypatch.context() as patched:
        patched.setattr(log, "_release", lambda *_: None)
        log.move(made.id, GenerationState.DROPPED)
    again = log.queue("t", "v", "v", Recipe("int8", "p"), basis="b")
    assert again.id != made.id
    assert again.state is GenerationState.QUEUED


def test_who_was_second_is_told(table: DynamoTable, monkeypatch: pytest.MonkeyPatch) -> None:
    log = DynamoGenerations(table, wall=lambda: NOW)
    made = log.queue("t", "v", "v", Recipe("int8", "p"), basis="b")
    other = DynamoGenerations(table, wall=lambda: NOW)
    monkeypatch.setattr(other, "generation", lambda id_: made)  # as it was before the first
    log.move(made.id, GenerationState.RUNNING)
    with pytest.raises(InvalidValue, match="by another"):
        other.move(made.id, GenerationState.RUNNING)


def test_items_expire(table: DynamoTable) -> None:
    DynamoGenerations(table, wall=lambda: NOW).queue("t", "v", "v", Recipe("int8", "p"), basis="b")
    assert table.client.scan(TableName="facts")["Items"]
    assert {item["ttl"]["N"] for item in table.client.scan(TableName="facts")["Items"]} == {str(int(NOW) + KEPT_S)}


def test_what_is_no_id_is_not_looked_for(table: DynamoTable) -> None:
    asked: list[Any] = []
    table.client.meta.events.register(
        "before-parameter-build.dynamodb.GetItem", lambda params, **_: asked.append(params)
    )
    log = DynamoGenerations(table, wall=lambda: NOW)
    for id_ in ("x" * 2000, "é" * 600, "0" * 16, "0" * 18, "0" * 17 + "\n", "ACTIVE#"):
        with pytest.raises(NotFound):
            log.generation(id_)
    assert not asked
    made = log.queue("t", "v", "v", Recipe("int8", "p"), basis="b")
    assert log.generation(made.id) == made
    assert len(asked) == 1


def test_a_name_is_taken_once_in_a_while(table: DynamoTable) -> None:
    one, other = DynamoClaims(table, PARTITION), DynamoClaims(table, PARTITION)
    assert one.claim("turn", NOW, 60.0)
    assert not other.claim("turn", NOW + 59.9, 60.0)
    assert other.claim("another", NOW, 60.0)
    assert other.claim("turn", NOW + 60.0, 60.0)
    assert not one.claim("turn", NOW + 60.0, 60.0)
    other.release("turn")
    other.release("turn")
    assert one.claim("turn", NOW + 60.0, 60.0)
    assert DynamoGenerations(table).generations() == ()


def test_a_name_is_taken_also_where_the_answer_to_that_was_lost(table: DynamoTable) -> None:
    one = DynamoClaims(DynamoTable("facts", RepeatingClient(table.client)), PARTITION)  # type: ignore[arg-type]
    assert one.claim("turn", NOW, 60.0)
    assert not one.claim("turn", NOW + 59.9, 60.0)
    one.release("turn")
    assert DynamoClaims(table, PARTITION).claim("turn", NOW, 60.0)
    assert not one.claim("turn", NOW, 60.0)


def test_no_condition_compares_two_values(table: DynamoTable) -> None:
    """An emulator would, where DynamoDB wants an attribute to compare."""
    conditions: list[str] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        puts = [each["Put"] for each in params.get("TransactItems", ())] or [params]
        conditions.extend(put.get("ConditionExpression", "") for put in puts)

    for operation in ("PutItem", "TransactWriteItems"):
        table.client.meta.events.register(f"before-parameter-build.dynamodb.{operation}", note)
    log = DynamoGenerations(table, wall=lambda: NOW)
    made = log.queue("t", "v", "v", Recipe("int8", "p"), basis="b")
    log.move(made.id, GenerationState.RUNNING)

    assert conditions == ["attribute_not_exists(pk)", "attribute_not_exists(pk)", "#state = :state"]


def test_who_is_asked_a_question_knows_what_is_to_answer_it(table: DynamoTable) -> None:
    log, asked = DynamoGenerations(table, wall=lambda: NOW), Asked("t", Slo(latency_ms=5.0), 2)
    made = log.queue("t", "v", "v", Recipe("int8", "p"), basis="b")
    assert log.said(asked) is None
    log.say(asked, made)

    assert log.said(asked) == made
    assert log.said(Asked("t", Slo(latency_ms=5.0), 3)) is None
    running = log.move(made.id, GenerationState.RUNNING)
    assert log.said(asked) == running
    log.move(made.id, GenerationState.FAILED, "no")
    assert log.said(asked) is None
    assert len(log.generations()) == 1
