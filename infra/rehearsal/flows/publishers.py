"""What publishers do with a deployed stack: push, take back, and race for the next release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra.rehearsal.account import NotDone
from infra.rehearsal.home import TASK
from infra.rehearsal.stage import TIER, Stage, check, forget_blobs
from registry.errors import Conflict
from registry.stores.dynamodb import DynamoStore


def push(stage: Stage) -> None:
    """A home's task is uploaded to an empty bucket, measured through a worker, and published."""
    account = stage.account
    bucket = account.stack.outputs["BucketName"]
    forget_blobs(account)
    for found in account.clients["s3"].list_objects_v2(Bucket=bucket, Prefix="blobs/").get("Contents", ()):
        account.clients["s3"].delete_object(Bucket=bucket, Key=found["Key"])
    account.renew("Worker1769Function")
    options = ("--stack", account.stack.name, "--tier", TIER, "--quick", "--fresh", "--home", str(stage.home))
    done = stage.modelless("push", TASK, *options)
    check(done["blobs"]["uploaded"] > 0 and done["tasks"][0]["measured"], done)
    account.check()


def roll_back(stage: Stage) -> None:
    """The newest release is taken back by another that has the facts of the one before it."""
    store = stage.store
    head = store.publish(store.load()).version
    check(stage.modelless("rollback", "--stack", stage.account.stack.name)["version"] == head + 1, head)
    stage.account.check()


def lose_a_race(stage: Stage) -> None:
    """Of two who publish at once one is told, and leaves nothing behind."""
    table, client = stage.account.stack.outputs["TableName"], stage.account.client("publisher", "dynamodb")
    rival, base = stage.store, stage.store.load()

    def before(params: Mapping[str, Any], **_: Any) -> None:
        if params["Item"]["pk"] == {"S": "CATALOGUE"}:
            client.meta.events.unregister("provide-client-params.dynamodb.PutItem", before)
            rival.publish(base)

    client.meta.events.register("provide-client-params.dynamodb.PutItem", before)
    snapshots = len(stage.account.items("SNAPSHOT#"))
    try:
        DynamoStore(table, client=client).publish(base)
    except Conflict:
        check(len(stage.account.items("SNAPSHOT#")) == snapshots + 4, "what lost has left a snapshot")
        return stage.account.check()
    raise NotDone("both have published")
