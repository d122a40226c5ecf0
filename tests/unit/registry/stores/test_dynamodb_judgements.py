"""What a judgement costs the table: a write each, one more for each variant of a batch, spread over partitions."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from registry.judgements import Observation
from registry.stores.dynamodb_judgements import KEPT_S, SHARDS, DynamoJudgements
from registry.stores.dynamodb_table import DynamoTable

NOW_MS = 1_790_000_000_000


def observed(number: int, variant: str = "sum/large") -> Observation:
    return Observation(f"d{number}", variant, "blake3:a", NOW_MS + number, 1, b"h\x01")


class Counting:
    """A client that counts its calls by name."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if name != "exceptions":
            self.calls[name] += 1
        return found


@pytest.fixture
def client(table: DynamoTable) -> Counting:
    return Counting(table.client)


@pytest.fixture
def log(client: Counting) -> DynamoJudgements:
    return DynamoJudgements(DynamoTable("facts", client))  # type: ignore[arg-type]


def items(client: Counting) -> list[dict[str, Any]]:
    return list(client._client.scan(TableName="facts")["Items"])


def test_a_batch_costs_a_write_each_and_one_for_each_variant(client: Counting, log: DynamoJudgements) -> None:
    log.add([observed(n, f"sum/{'ab'[n % 2]}") for n in range(10)])
    assert client.calls == {"put_item": 10 + 2}


def test_reading_costs_a_query_of_each_partition(client: Counting, log: DynamoJudgements) -> None:
    log.add([observed(n) for n in range(10)])
    client.calls.clear()
    log.last("sum/large", "blake3:a", 512)
    assert client.calls == {"query": SHARDS}


def test_no_partition_takes_them_all_and_every_item_expires(client: Counting, log: DynamoJudgements) -> None:
    log.add([observed(n) for n in range(40)])
    kept = [item for item in items(client) if "ttl" in item]
    assert len(kept) == 40
    assert len({item["pk"]["S"] for item in kept}) == SHARDS
    assert {int(item["ttl"]["N"]) for item in kept} == {NOW_MS // 1000 + KEPT_S}
    assert all(item["pk"]["S"].startswith("JUDGED#sum/large#") for item in kept)


def test_an_item_of_one_row_is_small(client: Counting, log: DynamoJudgements) -> None:
    log.add([observed(1)])
    (item,) = [item for item in items(client) if "ttl" in item]
    assert sum(len(name) + len(next(iter(value.values()))) for name, value in item.items()) < 1024
