"""Clients for AWS: quick to give up, and safe to make from any thread."""

from __future__ import annotations

import threading
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.session import Session

from functions.aws.catalogue import FIRST_S
from registry import aws
from registry.aws import failures, make_client, rehearse
from registry.errors import NotFound, Unavailable

pytestmark = pytest.mark.usefixtures("aws")


@pytest.mark.parametrize(("service", "longest_s"), [("dynamodb", 12), ("sqs", 12), ("s3", 18)])
def test_a_client_gives_up_within_seconds(service: Any, longest_s: int) -> None:
    config: Any = make_client(service).meta.config
    assert config.retries["mode"] == "standard"
    attempts = config.retries["total_max_attempts"]
    between_s = sum(2**i for i in range(attempts - 1))  # at most: it is drawn
    assert config.connect_timeout <= config.read_timeout
    assert attempts * config.read_timeout + between_s == longest_s
    # After a first look at the catalogue a function of 29 s still has time to say so.
    assert FIRST_S + longest_s < 29 - 1


@pytest.mark.parametrize(
    ("bucket", "host"),
    [("blobs-1x", "blobs-1x.s3.eu-south-2.amazonaws.com"), ("dotted.name", "s3.eu-south-2.amazonaws.com")],
)
def test_what_is_presigned_is_for_the_buckets_own_region(
    bucket: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host that all regions share does not know the buckets of one that is younger than 2019."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-south-2")
    url = make_client("s3").generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k"})
    assert urlsplit(url).netloc == host


def test_what_is_presigned_for_an_emulator_is_for_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:4566")
    url = make_client("s3").generate_presigned_url("put_object", Params={"Bucket": "b", "Key": "k"})
    assert url.startswith("http://localhost:4566/b/k?")


def test_threads_may_make_clients_at_once() -> None:
    barrier = threading.Barrier(4)
    made: list[str] = []

    def work() -> None:
        barrier.wait(timeout=10)
        made.append(make_client("dynamodb").meta.service_model.service_name)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert made == ["dynamodb"] * 4


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="https://x"),
        ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetItem"),
        ConnectionResetError("cable cut"),
    ],
)
def test_what_the_sdk_raises_is_unavailable(error: Exception) -> None:
    with pytest.raises(Unavailable, match="the table: ") as caught, failures("the table"):
        raise error
    assert caught.value.__cause__ is error


def test_our_own_errors_pass() -> None:
    with pytest.raises(NotFound), failures("the table"):
        raise NotFound("blob", "x")


def test_what_was_rehearsed_knows_no_credentials_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, "_rehearsed", None)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "EARLIER")
    rehearse("s3")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "LATER")

    signed = make_client("s3").generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"})

    assert "LATER" in signed
    assert "EARLIER" not in signed


def test_a_rehearsal_needs_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(session: Session) -> None:
        raise AssertionError("credentials were asked for")

    monkeypatch.setattr(aws, "_rehearsed", None)
    monkeypatch.setattr(Session, "get_credentials", asked)

    rehearse("s3")
