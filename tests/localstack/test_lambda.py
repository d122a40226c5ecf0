"""Lambda as this LocalStack runs it: what the deployed functions rely on holds before they are asked anything."""

from __future__ import annotations

import base64
import json
import re
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

Client = Callable[[str], Any]
MakeFunction = Callable[..., str]

pytestmark = pytest.mark.localstack

WAIT_S = 60.0

WHO = """
import os, pathlib, time
def handler(event, context):
    print("asked", event.get("say", ""))
    pathlib.Path(event["folder"], str(os.getpid())).touch()
    deadline = time.time() + 15
    while len(os.listdir(event["folder"])) < event.get("others", 0) and time.time() < deadline:
        time.sleep(0.01)
    return {"pid": os.getpid(), "arn": context.invoked_function_arn, "id": context.aws_request_id,
            "left_ms": context.get_remaining_time_in_millis(), "memory": context.memory_limit_in_mb}
"""

AWKWARD = """
import os, time
def handler(event, context):
    if event["do"] == "raise":
        raise ValueError("no such thing")
    if event["do"] == "leave":
        os._exit(3)
    if event["do"] == "hang":
        time.sleep(60)
    if event["do"] == "eat":
        kept = bytearray(event["mb"] << 20)
        time.sleep(2)
        return len(kept)
    return "x" * event.get("bytes", 0)
"""

PICKY = """
import json
def handler(event, context):
    bad = [r["messageId"] for r in event["Records"] if json.loads(r["body"])["bad"]]
    return {"batchItemFailures": [{"itemIdentifier": i} for i in bad]}
"""


def asked(client: Client, name: str, event: Any, **options: Any) -> tuple[dict[str, Any], Any]:
    """The answer to an invocation and its payload."""
    answer = client("lambda").invoke(FunctionName=name, Payload=json.dumps(event), **options)
    return answer, json.loads(answer["Payload"].read() or "null")


def eventually(look: Callable[[], Any]) -> Any:
    """What `look` sees once it sees something."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if seen := look():
            return seen
        time.sleep(0.2)  # another process's doing, which nothing tells us of
    raise AssertionError(f"nothing was seen within {WAIT_S} s")


def test_an_environment_answers_again_and_is_told_what_lambda_tells(
    client: Client, function: MakeFunction, tmp_path: Any
) -> None:
    name = function(WHO)
    _, first = asked(client, name, {"folder": str(tmp_path)})
    answer, second = asked(client, name, {"folder": str(tmp_path)}, Qualifier="$LATEST")

    assert first["pid"] == second["pid"]
    assert second["arn"].endswith(f":function:{name}:$LATEST")
    assert second["id"] == answer["ResponseMetadata"]["RequestId"]
    assert 15_000 < second["left_ms"] <= 20_000
    assert second["memory"] == "512"


def test_requests_at_once_have_an_environment_each(client: Client, function: MakeFunction, tmp_path: Any) -> None:
    name = function(WHO)
    event = {"folder": str(tmp_path), "others": 4}
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: asked(client, name, event)[1], range(4)))

    assert len({answer["pid"] for answer in answers}) == 4


def test_more_than_is_reserved_is_refused(client: Client, function: MakeFunction, tmp_path: Any) -> None:
    name = function(WHO)
    client("lambda").put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    with ThreadPoolExecutor(1) as thread:
        waits = thread.submit(asked, client, name, {"folder": str(tmp_path), "others": 2})
        eventually(lambda: list(tmp_path.iterdir()))
        with pytest.raises(ClientError) as refused:
            asked(client, name, {"folder": str(tmp_path)})
        (tmp_path / "other").touch()
        answer, _ = waits.result()

    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert refused.value.response["Error"]["Code"] == "TooManyRequestsException"
    assert "FunctionError" not in answer


def test_what_a_handler_raises_is_told_as_the_runtime_client_tells_it(client: Client, function: MakeFunction) -> None:
    answer, error = asked(client, function(AWKWARD), {"do": "raise"})

    assert answer["FunctionError"] == "Unhandled"
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "no such thing")
    assert any("raise ValueError" in line for line in error["stackTrace"])


def test_a_crash_is_told_and_the_next_request_answered(client: Client, function: MakeFunction) -> None:
    name = function(AWKWARD)
    crashed, error = asked(client, name, {"do": "leave"})
    _, after = asked(client, name, {"do": "answer"})

    assert crashed["FunctionError"] == "Unhandled"
    assert error["errorType"] == "Runtime.ExitError"
    assert "status 3" in error["errorMessage"]
    assert after == ""


def test_a_request_that_takes_too_long_is_ended_and_the_next_answered(client: Client, function: MakeFunction) -> None:
    name = function(AWKWARD, Timeout=2)
    began = time.monotonic()
    late, error = asked(client, name, {"do": "hang"})
    took = time.monotonic() - began
    _, after = asked(client, name, {"do": "answer"})

    assert took < 30
    assert late["FunctionError"] == "Unhandled"
    assert error["errorType"] == "Sandbox.Timedout"
    assert "Task timed out after 2.00 seconds" in error["errorMessage"]
    assert after == ""


def test_an_import_that_fails_is_told(client: Client, function: MakeFunction) -> None:
    answer, error = asked(client, function("import no_such_module\n"), {})

    assert answer["FunctionError"] == "Unhandled"
    assert error["errorType"] == "Runtime.ImportModuleError"
    assert "no_such_module" in error["errorMessage"]


def test_an_answer_over_six_megabytes_is_refused(client: Client, function: MakeFunction) -> None:
    name = function(AWKWARD)
    _, fits = asked(client, name, {"do": "answer", "bytes": 6 * 1024 * 1024})
    answer, error = asked(client, name, {"do": "answer", "bytes": 6 * 1024 * 1024 + 101})

    assert len(fits) == 6 * 1024 * 1024
    assert answer["FunctionError"] == "Unhandled"
    assert error["errorType"] == "Function.ResponseSizeTooLarge"


def test_a_function_has_the_memory_it_pays_for(client: Client, function: MakeFunction) -> None:
    name = function(AWKWARD, MemorySize=256)
    _, within = asked(client, name, {"do": "eat", "mb": 64})
    beyond, error = asked(client, name, {"do": "eat", "mb": 400})

    assert within == 64 << 20
    assert beyond["FunctionError"] == "Unhandled"
    assert error["errorType"] == "Runtime.ExitError"


def test_the_log_tells_of_each_request(client: Client, function: MakeFunction, tmp_path: Any) -> None:
    name = function(WHO)
    answer, told = asked(client, name, {"folder": str(tmp_path), "say": "grüß dich"}, LogType="Tail")
    tail = base64.b64decode(answer["LogResult"]).decode()

    def logged() -> str:
        streams = client("logs").describe_log_streams(logGroupName=f"/aws/lambda/{name}")["logStreams"]
        events = [
            event["message"]
            for stream in streams
            for event in client("logs").get_log_events(
                logGroupName=f"/aws/lambda/{name}", logStreamName=stream["logStreamName"]
            )["events"]
        ]
        return "".join(events)

    group = f"/aws/lambda/{name}"
    eventually(lambda: client("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"])
    text = eventually(logged)
    for log in (tail, text):
        assert f"START RequestId: {told['id']} Version: $LATEST" in log
        assert "asked grüß dich" in log
        assert f"END RequestId: {told['id']}" in log
        report = re.search(r"REPORT RequestId: (\S+)\tDuration: ([\d.]+) ms\tBilled Duration: (\d+) ms\t", log)
        assert report is not None
        assert float(report[2]) > 0
        assert "Memory Size: 512 MB\tMax Memory Used: " in log
        assert "Init Duration: " in log


def test_what_a_batch_did_not_manage_comes_again_and_then_to_the_dead_letters(
    client: Client, function: MakeFunction
) -> None:
    sqs, lambda_ = client("sqs"), client("lambda")
    suffix = uuid.uuid4().hex[:8]
    dead = sqs.create_queue(QueueName=f"dead-{suffix}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
    queue = sqs.create_queue(
        QueueName=f"work-{suffix}", Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "1"}
    )["QueueUrl"]
    source = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    mapping = lambda_.create_event_source_mapping(
        FunctionName=function(PICKY, Timeout=1),
        EventSourceArn=source,
        BatchSize=10,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )["UUID"]
    try:
        for index in range(4):
            sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"bad": index == 2}))

        def counted(url: str) -> tuple[int, ...]:
            names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
            numbers = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
            return tuple(int(numbers[name]) for name in names)

        eventually(lambda: counted(dead) == (1, 0) and counted(queue) == (0, 0))
        letters = sqs.receive_message(QueueUrl=dead)["Messages"]
        assert [json.loads(letter["Body"]) for letter in letters] == [{"bad": True}]
    finally:
        lambda_.delete_event_source_mapping(UUID=mapping)
