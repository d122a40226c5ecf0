"""The deciding functions as Lambda calls them, over a catalogue in DynamoDB as moto plays it."""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import boto3
import pytest

from benchmarks.lambda_call import Context, http_event
from functions.aws.catalogue import MAX_AGE_S
from gateway.capacity.arrivals import minute_of
from registry.catalogue import Catalogue
from registry.model import (
    LEVELS,
    ZERO,
    Accuracy,
    Placement,
    Profile,
    Quantiles,
    Recipe,
    ServiceTime,
    Slo,
    Task,
    TensorSpec,
    Variant,
)
from registry.prices import lambda_tiers
from registry.store import update
from registry.stores.dynamodb import DynamoStore
from registry.stores.dynamodb_table import DynamoTable
from registry.tenants import tenant_hash
from scheduler.requests import Request

TIER = "lambda-1769-snapstart"
USER = "arn:aws:iam::123456789012:user/ada"


def with_variant(catalogue: Catalogue, name: str, accuracy: float) -> Catalogue:
    """The catalogue with one more variant of task `sum`, placed on TIER and measured."""
    task = Task("sum", (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1,)),), "accuracy")
    variant = Variant("sum", name, "blake3:" + "0" * 64, Recipe("train"), Accuracy(accuracy, 0.5, 1.0, 100, "wilson"))
    placement = Placement(variant.id, TIER)
    times = Quantiles((5.0,) * len(LEVELS), 5.0)
    profile = Profile(
        placement.id, (ServiceTime(1, times, 5.0),), ZERO, times, 10.0, "test", "none", 30, "2026-01-01T00:00:00+00:00"
    )
    return (
        catalogue.with_tasks(task)
        .with_variants(variant)
        .with_tiers(*lambda_tiers())
        .with_placements(placement)
        .with_profiles(profile)
    )


@pytest.fixture
def store(table: DynamoTable, monkeypatch: pytest.MonkeyPatch) -> DynamoStore:
    """A table with one release; the environment of a function that reads it."""
    monkeypatch.setenv("TABLE_NAME", "facts")
    monkeypatch.setenv("TENANT_CLAIM", "sub")
    monkeypatch.setenv("WARM_BUDGET_USD_PER_HOUR", "1")
    monkeypatch.setenv("WORKERS", json.dumps({TIER: "arn:aws:lambda:us-east-1:123456789012:function:w:live"}))
    boto3.client("s3").create_bucket(Bucket="parts")
    queue = boto3.client("sqs").create_queue(QueueName="jobs", Attributes={"VisibilityTimeout": "540"})
    monkeypatch.setenv("BUCKET_NAME", "parts")
    monkeypatch.setenv("JOBS_QUEUE_URL", queue["QueueUrl"])
    facts = DynamoStore(table)
    update(facts, lambda catalogue: with_variant(catalogue, "rough", 0.9))
    return facts


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import a function's module afresh, as a new execution environment does."""
    made: list[ModuleType] = []

    def start(name: str) -> ModuleType:
        monkeypatch.delitem(sys.modules, f"functions.{name}.app", raising=False)
        made.append(importlib.import_module(f"functions.{name}.app"))
        return made[-1]

    yield start
    for module in made:
        if hasattr(module, "runner"):
            module.runner.close()
        sys.modules.pop(module.__name__, None)


def test_the_scheduler_decides_over_the_table(store: DynamoStore, cold: Any) -> None:
    decision = cold("scheduler").handler({"task": "sum", "rows": 1}, Context())

    assert decision["chosen"]["variant"] == "sum/rough"
    assert decision["catalogue_version"] == 1
    assert json.loads(json.dumps(decision)) == decision


def test_a_release_reaches_a_running_function(store: DynamoStore, cold: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    app = cold("scheduler")
    assert app.handler({"task": "sum"}, Context())["chosen"]["variant"] == "sum/rough"
    update(store, lambda catalogue: with_variant(catalogue, "fine", 0.99))

    later = app.watch._clock() + MAX_AGE_S + 1
    monkeypatch.setattr(app.watch, "_clock", lambda: later)

    assert app.handler({"task": "sum"}, Context())["chosen"]["variant"] == "sum/fine"


def test_the_api_plans_over_the_table(store: DynamoStore, cold: Any) -> None:
    api = cold("api")
    event = http_event("POST", "/v1/tasks/sum/plan", {"slo": {"objective": "cost"}}, USER)

    answer = api.handler(event, Context())

    assert answer["statusCode"] == 200
    assert json.loads(answer["body"])["chosen"]["tier"] == TIER
    assert set(api.backends.by_tier) == {TIER}


@pytest.mark.parametrize("name", ["prewarm", "evict"])
def test_capacity_functions_read_the_table_and_do_nothing_where_nothing_was_asked(
    name: str, store: DynamoStore, cold: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = cold(name)
    now = app.capacity._wall()
    monkeypatch.setattr(app.capacity, "_wall", lambda: now)  # of two minutes it would do both
    document = app.handler({}, Context())
    assert (document["claimed"], document["actions"]) == (True, [])
    assert {demand["task"]: demand["probability"] < 0.001 for demand in document["demands"]} == {"sum": True}
    assert app.handler({}, Context()) == {"claimed": False}


def test_what_the_api_is_asked_for_is_in_the_log(store: DynamoStore, cold: Any) -> None:
    api = cold("api")
    api.watch.look()
    api.activity.note(Request("sum", Slo(), 3))
    api.activity._telling[0].result(timeout=30)
    minutes = api.activity._activity.between(minute_of(time.time()) - 1, minute_of(time.time()) + 1)
    assert [(u.task, u.requests, u.rows) for minute in minutes for u in minute.usages] == [("sum", 1, 3)]


def asked(method: str, path: str, body: str | None = None) -> dict[str, Any]:
    return http_event(method, path, body, USER, **{"idempotency-key": "k"})


def received() -> list[dict[str, Any]]:
    """What the queue delivers now, as Lambda hands it to a function."""
    client = boto3.client("sqs")
    found = client.receive_message(
        QueueUrl=client.get_queue_url(QueueName="jobs")["QueueUrl"],
        MaxNumberOfMessages=10,
        MessageSystemAttributeNames=["ApproximateReceiveCount", "MessageGroupId"],
    )
    return [
        {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": dict(message["Attributes"]),
            "eventSource": "aws:sqs",
        }
        for message in found.get("Messages", [])
    ]


def test_a_job_goes_through_the_queue_and_comes_back_while_no_worker_answers(store: DynamoStore, cold: Any) -> None:
    api, jobs = cold("api"), cold("jobs")
    body = json.dumps({"inputs": [[1.0, 2.0]]}) + " " * 5000  # large enough for the bucket
    accepted = api.handler(asked("POST", "/v1/tasks/sum/jobs", body), Context())
    job = json.loads(accepted["body"])
    assert (accepted["statusCode"], job["state"]) == (202, "queued")
    (record,) = received()
    assert record["attributes"]["MessageGroupId"] == tenant_hash("123456789012/user/ada")
    broken = {**record, "messageId": "broken", "body": "{"}

    # moto has no such worker, as a stack has none while it is deployed.
    left = jobs.handler({"Records": [record, broken]}, Context())

    assert {item["itemIdentifier"] for item in left["batchItemFailures"]} == {record["messageId"], "broken"}
    found = json.loads(api.handler(asked("GET", f"/v1/jobs/{job['id']}"), Context())["body"])
    assert (found["state"], found["error"]["code"]) == ("queued", "unavailable")


def test_a_batch_of_which_nothing_is_left_is_done(store: DynamoStore, cold: Any) -> None:
    api, jobs = cold("api"), cold("jobs")
    event = asked("POST", "/v1/tasks/sum/jobs", '{"inputs": [[1.0, 2.0]]}')
    ids = {json.loads(api.handler(event, Context())["body"])["id"] for _ in range(2)}
    (id_,) = ids
    api.handler(asked("DELETE", f"/v1/jobs/{id_}"), Context())
    records = received()
    assert len(records) == 2

    assert jobs.handler({"Records": records}, Context()) == {"batchItemFailures": []}
    assert jobs.handler({"Records": records}, Context()) == {"batchItemFailures": []}
    assert json.loads(api.handler(asked("GET", f"/v1/jobs/{id_}"), Context())["body"])["state"] == "cancelled"
