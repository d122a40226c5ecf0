"""A key is read once an hour, so that one that an operator deletes is forgotten; guesses at keys cost no read."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from registry.receipt_keys import PERIOD_S
from registry.stores.dynamodb_receipt_keys import REMEMBERED_S, DynamoReceiptKeys
from registry.stores.dynamodb_table import DynamoTable


class Table:
    """What of a DynamoDB client is called, over a dict; counts its calls."""

    class exceptions:  # noqa: N801 - as the client has it
        """The client's own."""

        class ConditionalCheckFailedException(Exception):
            """Never raised here: one environment alone."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []

    def get_item(self, Key: dict[str, Any], **_: Any) -> dict[str, Any]:
        self.calls.append("get_item")
        found = self.items.get(Key["sk"]["S"])
        return {"Item": copy.deepcopy(found)} if found else {}

    def put_item(self, Item: dict[str, Any], **_: Any) -> None:
        self.calls.append("put_item")
        self.items[Item["sk"]["S"]] = Item


@pytest.fixture
def table() -> Table:
    return Table()


def test_a_key_is_read_once_an_hour(table: Table) -> None:
    now = [700.0 * PERIOD_S]
    keys = DynamoReceiptKeys(DynamoTable("facts", table), wall=lambda: now[0])  # type: ignore[arg-type]
    first = keys.current()
    assert table.calls == ["get_item", "put_item"]
    for _ in range(3):
        assert keys.current() == keys.find("700") == first
    assert table.calls == ["get_item", "put_item"]
    now[0] += REMEMBERED_S
    assert keys.current() == first
    assert table.calls == ["get_item", "put_item", "get_item"]
    table.items.clear()
    now[0] += REMEMBERED_S
    assert keys.current() != first


def test_guesses_cost_no_read(table: Table) -> None:
    keys = DynamoReceiptKeys(DynamoTable("facts", table), wall=lambda: 700.0 * PERIOD_S)  # type: ignore[arg-type]
    for id_ in ("", "x", "698", "702", "700.0", "0700", "7" * 5000):
        assert keys.find(id_) is None
    assert table.calls == []


def test_an_item_outlives_its_last_signature_and_no_more(table: Table) -> None:
    DynamoReceiptKeys(DynamoTable("facts", table), wall=lambda: 700.2 * PERIOD_S).current()  # type: ignore[arg-type]
    (item,) = table.items.values()
    assert item["pk"] == {"S": "RECEIPTKEY"}
    assert int(item["ttl"]["N"]) == 702 * PERIOD_S
