"""Predictions that nobody waits for: handed in at the api, carried through the queue, made by the worker, once each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from infra.rehearsal.mapping import Delivered, deliver
from infra.rehearsal.stack import Rehearsal

Event = Callable[..., dict[str, Any]]
Invoke = Callable[[str, Any], Any]
Ask = Callable[..., tuple[int, Any]]

FUNCTION = "JobsFunction:live"


@pytest.fixture
def ask(pushed: dict[str, Any], invoke: Invoke, event: Event) -> Ask:
    """Sends the api a request as the recorded IAM user; status and document."""

    def asked(
        method: str, path: str, body: Any = None, *, door: str = "http-api-iam", key: str = ""
    ) -> tuple[int, Any]:
        request = event(door, method, path, body)
        if key:
            request["headers"]["idempotency-key"] = key
        answer = invoke("ApiFunction:live", request)
        return answer["statusCode"], json.loads(answer["body"]) if answer.get("body") else None

    return asked


@pytest.fixture
def carried(clients: Mapping[str, Any], stack: Rehearsal) -> Iterator[Callable[[], Delivered]]:
    """Delivers the next batch of the queue, which is empty before and after."""
    queue = stack.names.refs["JobsQueue"]
    clients["sqs"].purge_queue(QueueUrl=queue)
    yield lambda: deliver(clients, queue, FUNCTION)
    clients["sqs"].purge_queue(QueueUrl=queue)


def test_a_job_is_made_by_the_worker_and_kept_for_its_owner(
    ask: Ask, carried: Callable[[], Delivered], rows: list[list[float]], locally: Callable[[str], dict[str, Any]]
) -> None:
    status, job = ask("POST", "/v1/tasks/digits/jobs", {"inputs": rows})
    assert (status, job["state"], job["result"]) == (202, "queued", None)
    path = f"/v1/jobs/{job['id']}"
    assert ask("GET", path)[1]["state"] == "queued"

    delivered = carried()
    assert (len(delivered.taken), delivered.failed, delivered.error) == (1, (), None)
    status, done = ask("GET", path)
    assert (status, done["state"], done["error"]) == (200, "succeeded", None)
    for name, values in locally(done["result"]["decision"]["variant"]).items():
        np.testing.assert_allclose(np.asarray(done["result"]["outputs"][name]), values, rtol=1e-5, atol=1e-6)
    assert [listed["id"] for listed in ask("GET", "/v1/jobs")[1]["jobs"]][:1] == [job["id"]]
    assert ask("GET", path, door="http-api-jwt")[0] == 404
    assert ask("DELETE", path)[0] == 409


def test_a_message_that_comes_twice_does_nothing_twice(
    ask: Ask, carried: Callable[[], Delivered], clients: Mapping[str, Any], stack: Rehearsal, rows: list[list[float]]
) -> None:
    queue = stack.names.refs["JobsQueue"]
    _, job = ask("POST", "/v1/tasks/digits/jobs", {"inputs": rows}, key="once")
    assert ask("POST", "/v1/tasks/digits/jobs", {"inputs": rows}, key="once")[1]["id"] == job["id"]
    (message,) = clients["sqs"].receive_message(QueueUrl=queue, VisibilityTimeout=0)["Messages"]
    clients["sqs"].send_message(QueueUrl=queue, MessageBody=message["Body"])

    # Of those that come together one makes it, and what finds it held is left until it has ended.
    assert len(carried().taken) > 1
    done = ask("GET", f"/v1/jobs/{job['id']}")[1]
    assert done["state"] == "succeeded"
    while carried().taken:
        pass
    clients["sqs"].send_message(QueueUrl=queue, MessageBody=message["Body"])
    assert len(carried().taken) == 1
    assert ask("GET", f"/v1/jobs/{job['id']}")[1] == done


def test_what_cannot_be_read_fails_alone_and_is_delivered_again(
    ask: Ask, carried: Callable[[], Delivered], clients: Mapping[str, Any], stack: Rehearsal, rows: list[list[float]]
) -> None:
    clients["sqs"].send_message(QueueUrl=stack.names.refs["JobsQueue"], MessageBody="no job")
    _, job = ask("POST", "/v1/tasks/digits/jobs", {"inputs": rows})

    first = carried()
    assert (len(first.taken), len(first.failed), first.error) == (2, 1, None)
    assert ask("GET", f"/v1/jobs/{job['id']}")[1]["state"] == "succeeded"
    assert carried().taken == first.failed


def test_a_cancelled_job_is_not_made(ask: Ask, carried: Callable[[], Delivered], rows: list[list[float]]) -> None:
    _, job = ask("POST", "/v1/tasks/digits/jobs", {"inputs": rows})
    path = f"/v1/jobs/{job['id']}"
    assert ask("DELETE", path, door="http-api-jwt")[0] == 404
    assert ask("DELETE", path)[1]["state"] == "cancelled"
    delivered = carried()
    assert (len(delivered.taken), delivered.failed) == (1, ())
    assert ask("GET", path)[1]["state"] == "cancelled"
