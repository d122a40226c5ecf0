"""Everything that a stack is for is done with what its roles and policies allow, and nothing by whom they do not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from infra.rehearsal.flows.table import FLOWS
from infra.rehearsal.home import TASK
from infra.rehearsal.proofs import Ran
from infra.rehearsal.stage import TIER, Stage


@pytest.mark.parametrize("flow", FLOWS)
def test_a_flow_is_done_and_nothing_is_denied(flow: str, flows: Mapping[str, Ran]) -> None:
    assert flows[flow].decisions
    assert all(decision.allowed for decision in flows[flow].decisions)


@pytest.mark.parametrize("user", ["stranger", "publisher"])
def test_who_may_not_ask_is_refused_at_the_door(user: str, stage: Stage) -> None:
    with stage.account.front(user) as front:
        assert front.post(f"/v1/tasks/{TASK}/predict", json=stage.inputs()).status_code == 403


def test_who_does_not_sign_is_refused_at_the_door(stage: Stage) -> None:
    with stage.account.front("caller") as front:
        answer = httpx.get(f"{front.base_url}v1/tasks", verify=stage.account.trust)
    assert answer.status_code == 403


def test_who_signs_with_a_wrong_secret_is_refused_at_the_door(stage: Stage) -> None:
    wrong: dict[str, Any] = {**stage.account.users["caller"], "AWS_SECRET_ACCESS_KEY": "wrong"}
    with stage.account.having(caller=wrong).front("caller") as front:
        assert front.get("/v1/tasks").status_code == 403


@pytest.mark.parametrize("user", ["stranger", "caller"])
def test_who_may_not_push_finds_no_stack_runs_no_worker_and_reads_no_table(user: str, stage: Stage) -> None:
    outputs = stage.account.stack.outputs
    clients = {name: stage.account.client(user, name) for name in ("cloudformation", "lambda", "dynamodb", "s3")}
    worker, key = json.loads(outputs["Workers"])[TIER], {"pk": {"S": "CATALOGUE"}, "sk": {"S": "-"}}
    for attempt in (
        lambda: clients["cloudformation"].describe_stacks(StackName=stage.account.stack.name),
        lambda: clients["lambda"].invoke(FunctionName=worker, Payload=b'{"kind": "status"}'),
        lambda: clients["lambda"].invoke(FunctionName=outputs["ApiFunctionArn"], Payload=b"{}"),
        lambda: clients["dynamodb"].get_item(TableName=outputs["TableName"], Key=key),
        lambda: clients["s3"].get_object(Bucket=outputs["BucketName"], Key="blobs/x"),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            attempt()


def test_who_may_push_reaches_no_partition_but_the_catalogue_s(stage: Stage) -> None:
    table = stage.account.stack.outputs["TableName"]
    client = stage.account.client("publisher", "dynamodb")
    for partition in ("JOB#0#0", "RECEIPTKEY", "JUDGED#", "QUOTA#0", "GENERATION#"):
        item = {"pk": {"S": partition}, "sk": {"S": "-"}}
        with pytest.raises(ClientError, match="AccessDenied"):
            client.put_item(TableName=table, Item=item)
        with pytest.raises(ClientError, match="AccessDenied"):
            client.get_item(TableName=table, Key=item)
    with pytest.raises(ClientError, match="AccessDenied"):
        client.delete_item(TableName=table, Key={"pk": {"S": "CATALOGUE"}, "sk": {"S": "-"}})
    with pytest.raises(ClientError, match="AccessDenied"):
        client.scan(TableName=table)
