"""What stands in for CloudFormation, for event source mappings and for Lambda's Invoke in `make aws-test`."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.environments.invocation import Answer, Call, FunctionError
from gateway.environments.spec import FunctionSpec
from gateway.errors import EnvironmentLost, Throttled

ROOT = Path(__file__).resolve().parents[2]
QUEUE = "http://127.0.0.1:4566/000000000000/here-JobsQueue"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (ROOT, ROOT / "infra" / "localstack"):
        monkeypatch.syspath_prepend(str(place))


def test_intrinsic_functions_give_what_is_there() -> None:
    from infra.rehearsal.resources import Names

    names = Names({"Table": "here-Table", "AWS::Region": "us-east-1"}, {("Bucket", "Arn"): "arn:b", ("Q", "Name"): "q"})
    document = {
        "Name": {"Ref": "Table"},
        "Both": [{"Fn::GetAtt": ["Bucket", "Arn"]}, {"Fn::GetAtt": "Q.Name"}],
        "Said": {"Fn::Sub": ["${One}/${Bucket.Arn}/${Table}/${AWS::Region}", {"One": {"Ref": "Table"}}]},
        "Plain": {"Fn::Sub": "s3://${Table}/blobs"},
        "Empty": {},
        "Number": 3,
    }

    assert names.resolved(document) == {
        "Name": "here-Table",
        "Both": ["arn:b", "q"],
        "Said": "here-Table/arn:b/here-Table/us-east-1",
        "Plain": "s3://here-Table/blobs",
        "Empty": {},
        "Number": 3,
    }
    with pytest.raises(KeyError):
        names.resolved({"Ref": "HttpApi"})


class Sqs:
    """One batch of messages, and what became of each."""

    def __init__(self, *bodies: str) -> None:
        self.messages = [
            {"MessageId": f"m{n}", "ReceiptHandle": f"r{n}", "Body": body, "MD5OfBody": "x", "Attributes": {"a": "1"}}
            for n, body in enumerate(bodies)
        ]
        self.deleted: list[str] = []
        self.shown: list[str] = []

    def receive_message(self, **request: Any) -> dict[str, Any]:
        return {"Messages": self.messages[: request["MaxNumberOfMessages"]]} if self.messages else {}

    def delete_message(self, QueueUrl: str, ReceiptHandle: str) -> None:
        self.deleted.append(ReceiptHandle)

    def change_message_visibility(self, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int) -> None:
        self.shown.append(ReceiptHandle)


class Lambda:
    def __init__(self, answer: Any, error: str | None = None) -> None:
        self.answer, self.error = answer, error
        self.events: list[Any] = []

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:
        self.events.append(json.loads(Payload))
        response: dict[str, Any] = {"Payload": io.BytesIO(json.dumps(self.answer).encode())}
        return {**response, "FunctionError": self.error} if self.error else response


@pytest.mark.parametrize(
    ("answer", "error", "failed"),
    [
        ({"batchItemFailures": []}, None, ()),
        (None, None, ()),
        ({"batchItemFailures": [{"itemIdentifier": "m1"}]}, None, ("m1",)),
        ({"batchItemFailures": [{"itemIdentifier": "unknown"}]}, None, ("m0", "m1", "m2")),
        ({"errorType": "ValueError"}, "Unhandled", ("m0", "m1", "m2")),
    ],
)
def test_what_fails_stays_and_the_rest_leaves(answer: Any, error: str | None, failed: tuple[str, ...]) -> None:
    from infra.rehearsal.mapping import deliver

    sqs, function = Sqs("a", "b", "c"), Lambda(answer, error)
    delivered = deliver({"sqs": sqs, "lambda": function}, QUEUE, "f")

    assert (delivered.taken, delivered.failed) == (("m0", "m1", "m2"), failed)
    assert delivered.error == (answer if error else None)
    assert sqs.deleted == [f"r{m[1]}" for m in delivered.taken if m not in failed]
    assert sqs.shown == [f"r{m[1]}" for m in failed]


def test_a_batch_is_shaped_as_the_recorded_one() -> None:
    from infra.rehearsal.mapping import deliver

    function = Lambda(None)
    deliver({"sqs": Sqs("a"), "lambda": function}, QUEUE, "f")
    recorded = json.loads((ROOT / "tests" / "aws" / "events" / "sqs-batch.json").read_text())

    assert set(function.events[0]["Records"][0]) == set(recorded["Records"][0])
    assert function.events[0]["Records"][0]["eventSourceARN"].endswith(":000000000000:here-JobsQueue")
    assert deliver({"sqs": Sqs(), "lambda": function}, QUEUE, "f").taken == ()


class Pool:
    """Gives or raises what it is told to."""

    def __init__(self, outcome: Answer | Exception) -> None:
        self.spec = FunctionSpec("worker", "app.handler", Path("/"))
        self.outcome, self.asked, self.ran = outcome, [], asyncio.Event()

    async def invoke(self, payload: bytes, *, call: Call) -> Answer:
        self.asked.append((payload, call))
        self.ran.set()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def answer(payload: bytes = b'{"a": 1}', error: FunctionError | None = None, init_ms: float = 0.0) -> Answer:
    return Answer(payload, error, "e1", bool(init_ms), init_ms, 1.2, 50.0)


Served = Callable[[Answer | Exception], tuple[httpx.AsyncClient, Pool]]


@pytest.fixture
def served() -> Served:
    """A client of the API over a pool, in memory."""
    from infra.rehearsal.invoke_api import Function, InvokeApi

    def client(outcome: Answer | Exception) -> tuple[httpx.AsyncClient, Pool]:
        pool = Pool(outcome)
        app = InvokeApi({"worker": Function(pool)}).app  # type: ignore[arg-type]
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://lambda"), pool

    return client


ARN = "arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Aworker%3Alive"


@pytest.mark.parametrize("name", ["worker", "worker:live", ARN])
async def test_a_function_is_known_by_its_names(name: str, served: Served) -> None:
    client, pool = served(answer(init_ms=30.0))
    response = await client.post(
        f"/2015-03-31/functions/{name}/invocations", content=b'{"x": 2}', headers={"X-Amz-Log-Type": "Tail"}
    )

    assert (response.status_code, response.json()) == (200, {"a": 1})
    assert "x-amz-function-error" not in response.headers
    assert "Init Duration: 30.00 ms" in base64.b64decode(response.headers["x-amz-log-result"]).decode()
    assert pool.asked[0][0] == b'{"x": 2}'


@pytest.mark.parametrize(
    ("outcome", "status", "kind"),
    [
        (answer(b'{"errorType": "KeyError"}', FunctionError("KeyError", "x")), 200, None),
        (EnvironmentLost("gone", "Runtime exited with status 1"), 200, None),
        (Throttled("all busy"), 429, "TooManyRequestsException"),
    ],
)
async def test_what_goes_wrong_is_told_as_lambda_tells_it(
    outcome: Answer | Exception, status: int, kind: str | None, served: Served
) -> None:
    client, _ = served(outcome)
    response = await client.post("/2015-03-31/functions/worker/invocations", content=b"{}")

    assert response.status_code == status
    assert response.headers.get("x-amzn-errortype") == kind
    assert response.headers.get("x-amz-function-error") == ("Unhandled" if status == 200 else None)


async def test_an_unknown_function_and_an_event(served: Served) -> None:
    client, pool = served(answer())
    missing = await client.post("/2015-03-31/functions/other/invocations", content=b"{}")
    assert (missing.status_code, missing.headers["x-amzn-errortype"]) == (404, "ResourceNotFoundException")

    accepted = await client.post(
        "/2015-03-31/functions/worker/invocations", content=b"{}", headers={"X-Amz-Invocation-Type": "Event"}
    )
    assert (accepted.status_code, accepted.content) == (202, b"")
    async with asyncio.timeout(10):
        await pool.ran.wait()
