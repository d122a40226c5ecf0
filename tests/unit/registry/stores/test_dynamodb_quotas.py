"""Counters of quotas in a table: writers add up, windows and tenants are apart, and items expire."""

from __future__ import annotations

import pytest

from registry.errors import Unavailable
from registry.stores.dynamodb_quotas import DynamoQuotas, partition_of
from registry.stores.dynamodb_table import DynamoTable


def test_what_all_writers_spent_adds_up(table):
    one, other = DynamoQuotas(table, 0), DynamoQuotas(table, 3)

    assert one.spend("acme", 7, 10.0, 10) == 10
    assert other.spend("acme", 7, 10.0, 5) == 15
    assert one.spend("acme", 7, 10.0, 10) == 25


def test_windows_and_tenants_are_apart(table):
    quotas = DynamoQuotas(table, 0)
    quotas.spend("acme", 7, 10.0, 10)
    quotas.spend("acme", 70, 10.0, 20)

    assert quotas.spend("acme", 8, 10.0, 1) == 1
    assert quotas.spend("globex", 7, 10.0, 2) == 2
    assert quotas.spend("acme", 7, 10.0, 1) == 11


def test_an_item_expires_and_names_nobody(table):
    DynamoQuotas(table, 2).spend("ada@example.org", 100, 10.0, 1)
    (item,) = table.client.scan(TableName="facts")["Items"]

    assert item["sk"]["S"] == "100#2"
    assert 1010 < int(item["ttl"]["N"]) <= 1100
    assert "ada" not in item["pk"]["S"]
    assert partition_of("ada@example.org") == item["pk"]["S"]


def test_a_table_that_is_not_there_is_unavailable(aws):
    with pytest.raises(Unavailable):
        DynamoQuotas(DynamoTable("none"), 0).spend("acme", 1, 10.0, 1)
