"""The deployed template, asked over HTTP as callers ask it: every road from the front door to a worker and back."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

Client = Callable[[str], Any]

pytestmark = pytest.mark.localstack

RUN = uuid.uuid4().hex[:8]
"""A LocalStack that goes on has seen earlier ones."""

TASK = f"smoke-{RUN}"
UNASKED = f"smoke-{RUN}-unasked"
"""The same task, of which no prediction is asked: what is warm of it was made so ahead of requests."""

TIERS = ("lambda-1769", "lambda-3538")
ENDED = ("succeeded", "failed", "cancelled")
WAIT_S = 150.0
"""Longer than two minutes: what is due every minute has been done by then."""


def eventually(look: Callable[[], Any]) -> Any:
    """What `look` sees once it sees something."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if seen := look():
            return seen
        time.sleep(0.5)  # another process's doing, which nothing tells us of
    raise AssertionError(f"nothing was seen within {WAIT_S} s")


@pytest.fixture(scope="module")
def outputs(client: Client) -> dict[str, str]:
    """What the stack says of itself."""
    (stack,) = client("cloudformation").describe_stacks(StackName=os.environ["MODELLESS_STACK"])["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    """Points in the plane and the side of a line that they are on."""
    x = np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32)
    return x, (x[:, 0] + x[:, 1] > 0).astype(np.int64)


@pytest.fixture(scope="module")
def pushed(
    outputs: dict[str, str], rows: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """Two tasks registered on this machine and pushed to the stack, with the command line; what the push said."""
    from onnx import TensorProto, helper, numpy_helper

    folder = tmp_path_factory.mktemp("smoke")
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["scores"]),
            helper.make_node("ArgMax", ["scores"], ["side"], axis=1, keepdims=0),
        ],
        "side",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("side", TensorProto.INT64, ["n"])],
        [numpy_helper.from_array(np.float32([[-1, 1], [-1, 1]]), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    np.savez(folder / "rows.npz", x=rows[0], side=rows[1])
    home = ["--home", str(folder / "home")]
    made = ["--eval", str(folder / "rows.npz"), "--no-generate", "--tier", "inline", "--quick", "--latency-ms", "400"]
    for task in (TASK, UNASKED):
        modelless("register", task, str(folder / "model.onnx"), *made, *home)
    tiers = [word for tier in TIERS for word in ("--tier", tier)]
    stack = ["--stack", os.environ["MODELLESS_STACK"]]
    yield modelless("push", TASK, UNASKED, *stack, *tiers, "--quick", *home)
    modelless("unpush", TASK, UNASKED, *stack)


def modelless(*arguments: str) -> dict[str, Any]:
    """What a command prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments, "--json"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture(scope="module")
def front(endpoint: str, outputs: dict[str, str]) -> Iterator[httpx.Client]:
    """The function URL. Its name resolves to nothing without a network, so it goes along as the host that is meant."""
    host = urlsplit(outputs["FunctionUrl"]).netloc
    with httpx.Client(base_url=endpoint, headers={"host": host}, timeout=60.0) as opened:
        yield opened


@pytest.fixture(scope="module")
def served(front: httpx.Client, pushed: dict[str, Any]) -> httpx.Client:
    """The front door, once it knows the task."""
    eventually(lambda: front.get(f"/v1/tasks/{TASK}").status_code == 200)
    return front


def asked(rows: tuple[np.ndarray, np.ndarray], count: int = 3) -> dict[str, Any]:
    return {"inputs": {"x": rows[0][:count].tolist()}}


def test_the_local_stage_has_the_function_url_for_a_door_and_a_rule_for_a_clock(client: Client) -> None:
    stack = os.environ["MODELLESS_STACK"]
    resources = client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]
    there = {resource["ResourceType"] for resource in resources if resource.get("PhysicalResourceId")}

    assert {"AWS::Lambda::Url", "AWS::Events::Rule", "AWS::DynamoDB::Table", "AWS::SQS::Queue"} <= there
    assert not {"AWS::ApiGatewayV2::Api", "AWS::Scheduler::Schedule", "AWS::SageMaker::Endpoint"} & there


def test_a_task_is_pushed_and_measured_through_the_stack_s_workers(
    served: httpx.Client, pushed: dict[str, Any]
) -> None:
    assert pushed["blobs"]["needed"] > 0
    for task in pushed["tasks"]:
        placed = [measured["id"] for measured in task["measured"]]
        assert {where.rpartition("@")[2].partition(":")[0] for where in placed} == set(TIERS)
        assert all(measured["p50_ms"] > 0 for measured in task["measured"])
    assert {TASK, UNASKED} <= {known["name"] for known in served.get("/v1/tasks").json()["tasks"]}


def test_a_prediction_is_answered_by_a_worker(served: httpx.Client, rows: tuple[np.ndarray, np.ndarray]) -> None:
    answer = served.post(f"/v1/tasks/{TASK}/predict", json=asked(rows))

    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert document["outputs"]["side"] == rows[1][:3].tolist()
    assert document["decision"]["tier"] in TIERS
    assert answer.headers["x-decision-id"] == document["decision"]["decision_id"]


def test_a_plan_says_what_would_be_chosen_and_so_does_the_scheduler(
    served: httpx.Client, client: Client, outputs: dict[str, str]
) -> None:
    plan = served.post(f"/v1/tasks/{TASK}/plan", json={"slo": {"objective": "cost"}}).json()
    event = json.dumps({"task": TASK, "slo": {"objective": "cost"}})
    answer = client("lambda").invoke(FunctionName=outputs["SchedulerFunctionArn"], Payload=event)
    decision = json.loads(answer["Payload"].read())

    assert "FunctionError" not in answer, decision
    assert plan["chosen"]["tier"] in TIERS
    assert decision["chosen"]["variant"] == plan["chosen"]["variant"]


def test_a_job_is_answered_later_and_once_for_one_key(
    served: httpx.Client, rows: tuple[np.ndarray, np.ndarray]
) -> None:
    key = {"idempotency-key": uuid.uuid4().hex}
    accepted = served.post(f"/v1/tasks/{TASK}/jobs", json=asked(rows), headers=key)
    again = served.post(f"/v1/tasks/{TASK}/jobs", json=asked(rows), headers=key)

    assert accepted.status_code == 202, accepted.text
    job = accepted.json()
    where = accepted.headers["location"]
    assert where == f"/v1/jobs/{job['id']}"
    assert again.json()["id"] == job["id"]
    ended = eventually(lambda: (now := served.get(where).json())["state"] in ENDED and now)
    assert ended["state"] == "succeeded", ended
    assert ended["result"]["outputs"]["side"] == rows[1][:3].tolist()
    assert job["id"] in [each["id"] for each in served.get("/v1/jobs").json()["jobs"]]
    assert served.delete(where).status_code == 409


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (f"/v1/tasks/{TASK}/predict", {"inputs": {"x": [["one", 2]]}}, 422),
        (f"/v1/tasks/{TASK}/predict", {"inputs": {"x": [[1.0]]}}, 422),
        (f"/v1/tasks/{TASK}/predict", "no object", 422),
        ("/v1/tasks/unknown/predict", {"inputs": {"x": [[1.0, 2.0]]}}, 404),
        ("/v1/nothing", {}, 404),
    ],
)
def test_what_cannot_be_answered_is_refused_with_a_reason(
    served: httpx.Client, path: str, body: Any, status: int
) -> None:
    answer = served.post(path, json=body)

    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]


def test_what_is_asked_for_every_minute_is_warmed_by_the_clock(
    served: httpx.Client, client: Client, outputs: dict[str, str], rows: tuple[np.ndarray, np.ndarray]
) -> None:
    from gateway.capacity.arrivals import minute_of
    from registry.activity import Usage
    from registry.model import Slo
    from registry.stores.dynamodb_activity import DynamoActivity
    from registry.stores.dynamodb_table import DynamoTable

    activity = DynamoActivity(DynamoTable(outputs["TableName"]))
    now = minute_of(time.time())
    for minute in range(now - 30, now + 3):
        activity.add(minute, [Usage(UNASKED, 3, 3, Slo(latency_ms=400.0))])
    began = int(time.time() * 1000)

    def said(function: str) -> list[str]:
        group = f"/aws/lambda/{function.split(':')[6]}"
        logs = client("logs")
        if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
            return []
        events = logs.filter_log_events(logGroupName=group, startTime=began)["events"]
        return [event["message"] for event in events]

    warmed = re.compile(rf"'action': 'warm'[^}}]*'{UNASKED}/model@[^}}]*'result': 'done'")
    eventually(lambda: [line for line in said(outputs["PrewarmFunctionArn"]) if warmed.search(line)])
    eventually(lambda: [line for line in said(outputs["EvictFunctionArn"]) if "shrink: " in line])
    answer = served.post(f"/v1/tasks/{UNASKED}/predict", json=asked(rows)).json()
    assert not answer["decision"]["cold_start"]


def test_judgements_count_towards_the_accuracy_of_what_answered(
    served: httpx.Client, rows: tuple[np.ndarray, np.ndarray], outputs: dict[str, str]
) -> None:
    from registry.stores.dynamodb import DynamoStore

    def judge(**changes: Any) -> tuple[dict[str, Any], httpx.Response]:
        decision = served.post(f"/v1/tasks/{TASK}/predict", json=asked(rows, 40)).json()["decision"]
        judgement = {"receipt": decision["receipt"], "expected": (1 - rows[1][:40]).tolist()}
        return decision, served.post(f"/v1/tasks/{TASK}/feedback", json=judgement | changes)

    def published() -> float:
        return float(DynamoStore(outputs["TableName"]).load().variants[f"{TASK}/model"].accuracy.value)

    before = published()
    decision, accepted = judge()
    assert accepted.status_code == 202, accepted.text
    assert accepted.json() == {"accepted": True, "decision_id": decision["decision_id"]}
    _, forged = judge(receipt=decision["receipt"][:-8] + "AAAAAAAA")
    assert forged.status_code in (401, 403), forged.text
    # Published at most once a minute, of what has come by then.
    eventually(lambda: judge()[1].status_code == 202 and published() < before - 0.1)
