"""Of two who put an item of one key the first has it, and both are told which one is there."""

from __future__ import annotations

from typing import Any

import pytest

from registry.errors import Unavailable
from registry.stores.dynamodb_table import DynamoTable


def item(value: str, key: str = "k") -> dict[str, Any]:
    return {"pk": {"S": "P"}, "sk": {"S": key}, "value": {"S": value}}


def test_who_is_first_has_the_key_and_who_comes_later_is_told(table: DynamoTable) -> None:
    mine, theirs = item("mine"), item("theirs")

    assert table.put_first(mine) is mine
    assert table.put_first(theirs) == mine
    assert list(table.between("P", "a", "z")) == [mine]


def test_another_key_is_another_matter(table: DynamoTable) -> None:
    first, second = item("a", "k"), item("b", "l")

    assert (table.put_first(first), table.put_first(second)) == (first, second)
    assert list(table.between("P", "a", "z")) == [first, second]


def test_a_table_that_is_not_there_is_unavailable(table: DynamoTable) -> None:
    with pytest.raises(Unavailable, match="DynamoDB table other"):
        DynamoTable("other", table.client).put_first(item("a"))
