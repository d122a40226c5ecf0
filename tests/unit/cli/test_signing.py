"""What is signed is what is sent: the signature is checked as AWS checks it, and against botocore's own."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import botocore.auth
import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from click.testing import Result

from cli.signing import Scope, SigV4, scope_of

Invoke = Callable[..., Result]

FUNCTION_URL = "https://abc123.lambda-url.eu-west-1.on.aws"
HTTP_API = "https://abc123.execute-api.us-east-2.amazonaws.com"
NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


class Door:
    """Answers everything, and remembers what came."""

    def __init__(self, answer: httpx.Response | None = None) -> None:
        self.asked: list[httpx.Request] = []
        self._answer = answer or httpx.Response(200, json={"decisions": [], "tasks": []})

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.asked.append(request)
        return self._answer


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: NOON)


def signature_of(request: httpx.Request, secret: str, service: str, region: str) -> str:
    """The Authorization header that a request must have, by AWS's description of Signature Version 4."""
    listed = request.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    headers = "".join(f"{name}:{request.headers[name].strip()}\n" for name in listed)
    path, _, query = request.url.raw_path.decode().partition("?")
    query = "&".join(sorted(query.split("&")))
    body = hashlib.sha256(request.content).hexdigest()
    canonical = "\n".join((request.method, quote(path, safe="/~"), query, headers, ";".join(listed), body))
    stamp = request.headers["x-amz-date"]
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    to_sign = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = b"AWS4" + secret.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signed = hmac.new(key, to_sign.encode(), "sha256").hexdigest()
    return f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}, SignedHeaders={';'.join(listed)}, Signature={signed}"


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize(
    ("url", "service", "region"), [(FUNCTION_URL, "lambda", "eu-west-1"), (HTTP_API, "execute-api", "us-east-2")]
)
@pytest.mark.parametrize(
    "command",
    [
        ("predict", "iris", "[[5.1, 3.5]]", "--min-accuracy", "0.9", "--json"),
        ("plan", "a task/with é", "--json"),
        ("explain", "d-1", "--json"),
    ],
)
def test_what_is_sent_is_signed(command: tuple[str, ...], url: str, service: str, region: str, invoke: Invoke) -> None:
    door = Door()
    result = invoke(*command, "--url", url, obj=httpx.MockTransport(door))

    assert result.exit_code == 0, result.stderr
    (request,) = door.asked
    secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    assert request.headers["x-amz-date"] == "20261124T120000Z"
    assert request.headers["authorization"] == signature_of(request, secret, service, region)

    headers = {name: request.headers[name] for name in ("host", "content-type") if name in request.headers}
    again = AWSRequest(request.method, str(request.url), headers=headers, data=request.content)
    SigV4Auth(Credentials("AKIDEXAMPLE", secret), service, region).add_auth(again)
    assert request.headers["authorization"] == again.headers["Authorization"]


@pytest.mark.usefixtures("credentials")
def test_a_session_token_is_sent_and_signed(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session")
    door = Door()
    invoke("explain", "d-1", "--json", "--url", FUNCTION_URL, obj=httpx.MockTransport(door))

    assert door.asked[0].headers["x-amz-security-token"] == "session"
    assert "x-amz-security-token" in door.asked[0].headers["authorization"]


@pytest.mark.usefixtures("credentials")
def test_a_key_is_a_bearers_and_nothing_is_signed(invoke: Invoke) -> None:
    door = Door()
    invoke("explain", "d-1", "--json", "--url", HTTP_API, "--api-key", "ey.jwt", obj=httpx.MockTransport(door))

    assert door.asked[0].headers["authorization"] == "Bearer ey.jwt"
    assert "x-amz-date" not in door.asked[0].headers


@pytest.mark.usefixtures("credentials")
def test_sign_is_for_addresses_that_do_not_tell(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "sa-east-1")
    where = ("--url", "https://ask.example.org")
    for options, scope in (
        ((), None),
        (("--sign",), "sa-east-1/execute-api"),
        (("--sign", "lambda"), "sa-east-1/lambda"),
    ):
        door = Door()
        assert invoke("explain", "d-1", "--json", *where, *options, obj=httpx.MockTransport(door)).exit_code == 0
        found = door.asked[0].headers.get("authorization", "")
        assert (scope or "") in found
        assert bool(found) == (scope is not None)


def test_without_credentials_it_is_said_what_to_do(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    door = Door()
    result = invoke("explain", "d-1", "--url", FUNCTION_URL, obj=httpx.MockTransport(door))

    assert result.exit_code == 1
    assert "no AWS credentials to sign with" in result.stderr
    assert door.asked == []

    for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    result = invoke("explain", "d-1", "--sign", "--url", "https://ask.example.org", obj=httpx.MockTransport(door))
    assert (result.exit_code, "set AWS_REGION" in result.stderr) == (2, True)


@pytest.mark.usefixtures("credentials")
def test_a_front_doors_own_refusal_is_shown(invoke: Invoke) -> None:
    door = Door(httpx.Response(403, json={"Message": "Forbidden"}))
    result = invoke("explain", "d-1", "--url", FUNCTION_URL, obj=httpx.MockTransport(door))

    assert result.exit_code == 2
    assert "AWS said: Forbidden (HTTP 403); attach the stack's CallerPolicyArn" in result.stderr
    unsigned = invoke("explain", "d-1", "--url", "https://ask.example.org", obj=httpx.MockTransport(door))
    assert "give --sign to sign with AWS credentials" in unsigned.stderr


@pytest.mark.usefixtures("credentials")
def test_what_a_front_door_does_not_take_in_has_another_way(invoke: Invoke) -> None:
    door = Door(httpx.Response(413, json={"message": "Request Entity Too Large"}))
    result = invoke("submit", "t", "[[1]]", "--url", HTTP_API, obj=httpx.MockTransport(door))
    assert result.exit_code == 2
    assert "Request Entity Too Large; send fewer rows, or put the inputs where POST /v1/inbox says" in result.stderr


@pytest.mark.usefixtures("credentials")
def test_a_stack_that_does_not_answer_is_not_to_be_started_here(invoke: Invoke) -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route", request=request)

    result = invoke("jobs", "--url", FUNCTION_URL, obj=httpx.MockTransport(away))
    assert (result.exit_code, "modelless up" in result.stderr) == (1, False)
    assert "FunctionUrl or ApiUrl" in result.stderr
    assert "modelless up" in invoke("jobs", obj=httpx.MockTransport(away)).stderr


@pytest.mark.parametrize(
    ("url", "scope"),
    [
        (FUNCTION_URL, Scope("lambda", "eu-west-1")),
        (f"{HTTP_API}/prod", Scope("execute-api", "us-east-2")),
        ("https://a.execute-api.cn-north-1.amazonaws.com.cn", Scope("execute-api", "cn-north-1")),
        ("http://127.0.0.1:8080", None),
        ("http://a.lambda-url.us-east-1.localhost.localstack.cloud:4566", None),
        ("https://on.aws", None),
        ("https://evil.lambda-url.us-east-1.on.aws.example.org", None),
        ("no url", None),
    ],
)
def test_whose_address_it_is_shows(url: str, scope: Scope | None) -> None:
    assert scope_of(url, None) == scope


def test_the_region_of_the_address_counts_where_it_has_one() -> None:
    assert scope_of("http://a.lambda-url.us-west-2.localhost.localstack.cloud:4566", "lambda") == Scope(
        "lambda", "us-west-2"
    )
    assert SigV4(Scope("lambda", "us-west-2")).requires_request_body


def test_an_address_that_cannot_be_read_is_refused_by_its_option(invoke: Invoke) -> None:
    result = invoke("jobs", "--url", "http://[::1")
    assert (result.exit_code, "--url 'http://[::1': " in result.stderr) == (2, True), result.output
