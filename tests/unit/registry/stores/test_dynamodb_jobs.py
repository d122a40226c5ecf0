"""What a job's life costs in DynamoDB, and where in the table it is."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from typing import Any

import pytest

from registry.jobs import Job, claim, job_id, submitted, succeed
from registry.stores.dynamodb_jobs import SHARDS, DynamoJobs
from registry.stores.dynamodb_table import DynamoTable
from registry.stores.job_parts import BucketParts
from registry.tenants import tenant_hash

NOW = 1_800_000_000.0


@pytest.fixture
def client(table: DynamoTable) -> Any:
    return table.client


def new(serial: int) -> Job:
    return submitted(job_id(NOW, (serial << 8).to_bytes(10, "big")), "acme", "digits", "d", NOW)


def test_a_jobs_life_takes_as_many_calls_as_its_price_is_made_of(client: Any) -> None:
    store = DynamoJobs(DynamoTable("facts", client), BucketParts("parts"), wall=lambda: NOW)
    calls: Counter[str] = Counter()
    written: list[int] = []

    def count(params: Any, model: Any, **_: Any) -> None:
        calls[model.name] += 1
        if model.name == "TransactWriteItems":
            written.append(len(json.loads(params["body"])["TransactItems"]))

    client.meta.events.register("before-call.dynamodb", count)
    job = store.submit(new(0), b"{}")
    held = store.move("acme", job.id, partial(claim, holder="w", lease_s=30.0))
    store.body(held)
    store.move("acme", job.id, partial(succeed, holder="w"), result=b"{}")

    # Twice each item of a transaction: 4 + 1 + 4 writes, 2 more with a key.
    assert calls == {"Query": 1, "TransactWriteItems": 2, "GetItem": 3, "UpdateItem": 1}
    assert written == [2, 2]
    store.submit(new(1), b"{}", key="k")
    assert written[-1] == 3


def test_a_tenants_jobs_lie_in_all_its_shards_and_leave_by_their_ttl(client: Any) -> None:
    store = DynamoJobs(DynamoTable("facts", client), BucketParts("parts"), wall=lambda: NOW)
    made = [store.submit(new(serial), b"{}", key=str(serial)) for serial in range(40)]
    items = client.scan(TableName="facts")["Items"]
    assert {item["pk"]["S"] for item in items} == {f"JOB#{tenant_hash('acme')}#{shard}" for shard in range(SHARDS)}
    assert len(items) == 120
    assert all(int(item["ttl"]["N"]) > NOW for item in items)
    assert [job.id for job in store.jobs("acme", 50)] == sorted((job.id for job in made), reverse=True)
