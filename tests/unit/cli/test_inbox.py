"""Large inputs go by reference where the platform takes them so, and as ever where it does not; never with a key."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from click.testing import Result

from cli import inbox

Invoke = Callable[..., Result]

INPUTS = "[[1, 2, 3, 4], [5, 6, 7, 8]]"
WRITTEN = b"[[1,2,3,4],[5,6,7,8]]"
BUCKET = "https://bucket.example.org/inbox/acme/ref?X-Amz-Signature=secret"
REFERENCE = "f" * 32
ANSWER = {"id": "d1", "state": "queued"}
EXPIRED = "<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"


class Stack:
    """A platform with an inbox in a bucket of another host, and what both were asked."""

    def __init__(self) -> None:
        self.asked: list[httpx.Request] = []
        self.offers = httpx.Response(
            200,
            json={
                "inputs_ref": REFERENCE,
                "method": "PUT",
                "url": BUCKET,
                "headers": {"content-type": "application/json", "content-length": str(len(WRITTEN))},
                "expires_at": 1900.0,
            },
        )
        self.takes = httpx.Response(200)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.asked.append(request)
        if request.method == "PUT":
            return self.takes
        if request.url.path == "/v1/inbox":
            return self.offers
        return httpx.Response(200, json=ANSWER)

    @property
    def paths(self) -> list[str]:
        return [request.url.path for request in self.asked]


@pytest.fixture
def stack() -> Stack:
    return Stack()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes no more than a few bytes with a request."""
    monkeypatch.setattr(inbox, "SENT", len(WRITTEN) - 1)
    monkeypatch.setattr(inbox, "PART", 8)


def run(invoke: Invoke, stack: Stack, *arguments: str) -> Result:
    return invoke(*arguments, "--json", obj=httpx.MockTransport(stack))


def test_large_inputs_are_uploaded_and_asked_by_reference(invoke: Invoke, stack: Stack) -> None:
    result = run(invoke, stack, "predict", "flowers", INPUTS, "--latency-ms", "20", "--api-key", "k")

    assert result.exit_code == 0, result.stderr
    offered, put, asked = stack.asked
    assert (offered.url.path, json.loads(offered.content)) == ("/v1/inbox", {"bytes": len(WRITTEN)})
    assert (str(put.url), put.content) == (BUCKET, WRITTEN)
    assert put.headers["content-type"] == "application/json"
    assert put.headers["content-length"] == str(len(WRITTEN))
    assert json.loads(asked.content) == {"inputs_ref": REFERENCE, "slo": {"latency_ms": 20.0}}
    assert json.loads(result.stdout) == ANSWER
    assert f"Uploading {len(WRITTEN)} B ..." in result.stderr


def test_the_bucket_sees_neither_key_nor_signature(
    invoke: Invoke, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    signed = "https://abc.lambda-url.eu-west-1.on.aws"
    for where in (("--api-key", "k"), ("--url", signed)):
        stack.asked.clear()
        assert run(invoke, stack, "predict", "flowers", INPUTS, *where).exit_code == 0
        offered, put, asked = stack.asked
        assert "authorization" in offered.headers
        assert "authorization" in asked.headers
        assert "authorization" not in put.headers
        assert "transfer-encoding" not in put.headers  # S3 takes no body of a length that it is not told


def test_a_job_is_submitted_by_reference_with_its_key(invoke: Invoke, stack: Stack) -> None:
    result = run(invoke, stack, "submit", "flowers", INPUTS, "--key", "k")

    assert result.exit_code == 0, result.stderr
    *_, asked = stack.asked
    assert (asked.url.path, asked.headers["idempotency-key"]) == ("/v1/tasks/flowers/jobs", "k")
    assert json.loads(asked.content) == {"inputs_ref": REFERENCE, "slo": {}}


def test_what_fits_is_sent(invoke: Invoke, stack: Stack) -> None:
    assert run(invoke, stack, "predict", "flowers", "[[1, 2, 3, 4]]").exit_code == 0
    assert stack.paths == ["/v1/tasks/flowers/predict"]


@pytest.mark.parametrize("status", [404, 405])
def test_where_there_is_no_inbox_all_is_sent(invoke: Invoke, stack: Stack, status: int) -> None:
    stack.offers = httpx.Response(status, json={"error": {"code": "not_found", "message": "no such path"}})
    result = run(invoke, stack, "predict", "flowers", INPUTS)

    assert result.exit_code == 0, result.stderr
    assert stack.paths == ["/v1/inbox", "/v1/tasks/flowers/predict"]
    assert json.loads(stack.asked[1].content) == {"inputs": json.loads(INPUTS), "slo": {}}
    assert "Uploading" not in result.stderr


def test_what_no_inbox_takes_is_bad_input(invoke: Invoke, stack: Stack) -> None:
    said = {"error": {"code": "too_large", "message": "an input holds at most 16777216 bytes; send fewer rows"}}
    stack.offers = httpx.Response(413, json=said)
    result = run(invoke, stack, "predict", "flowers", INPUTS)

    assert result.exit_code == 2
    assert "an input holds at most 16777216 bytes; send fewer rows (HTTP 413)" in result.stderr
    assert stack.paths == ["/v1/inbox"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(403, text=EXPIRED), "'Request has expired' (HTTP 403); it took longer than the address"),
        (httpx.Response(503, text="<Error><Message>Slow Down</Message></Error>"), "'Slow Down' (HTTP 503); try again"),
        (httpx.Response(307, text="elsewhere"), "'elsewhere' (HTTP 307)"),
    ],
)
def test_an_upload_that_is_refused_ends_it(invoke: Invoke, stack: Stack, answer: httpx.Response, said: str) -> None:
    stack.takes = answer
    result = run(invoke, stack, "submit", "flowers", INPUTS)

    assert result.exit_code == 1
    assert f"the inputs could not be uploaded to bucket.example.org: {said}" in result.stderr
    assert "X-Amz-Signature" not in result.stderr
    assert len(stack.asked) == 2


def test_a_bucket_that_cannot_be_reached_ends_it(invoke: Invoke, stack: Stack) -> None:
    def away(request: httpx.Request) -> httpx.Response:
        if request.method == "PUT":
            raise httpx.ConnectError("no route", request=request)
        return stack(request)

    result = invoke("predict", "flowers", INPUTS, obj=httpx.MockTransport(away))
    assert result.exit_code == 1
    assert "could not be uploaded to bucket.example.org: ConnectError: no route" in result.stderr


def test_nothing_that_is_no_json_is_uploaded(invoke: Invoke, stack: Stack) -> None:
    result = run(invoke, stack, "predict", "flowers", "[[NaN, 2, 3, 4], [5, 6, 7, 8]]")
    assert (result.exit_code, stack.asked) == (2, [])
    assert "give finite numbers" in result.stderr


@pytest.mark.parametrize(
    ("inputs", "uploaded"),
    [([["x" * 9]], False), ([['"' * 7]], True), ([["é" * 4]], True)],
    ids=["plain", "quotes", "other letters"],
)
def test_what_is_escaped_in_an_event_counts_as_it_stands_there(
    invoke: Invoke, stack: Stack, inputs: Any, uploaded: bool
) -> None:
    """All three take 13 to 19 bytes, of the 20 that fit."""
    run(invoke, stack, "predict", "flowers", json.dumps(inputs))
    assert ("/v1/inbox" in stack.paths) is uploaded


def test_the_progress_ends_where_the_upload_does() -> None:
    steps: list[tuple[str, int, int]] = []
    parts = list(inbox._parts(WRITTEN, lambda *step: steps.append(step)))

    assert b"".join(parts) == WRITTEN
    assert steps == [("8 B", 8, 21), ("16 B", 16, 21), ("21 B", 21, 21)]
