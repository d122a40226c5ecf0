"""The S3 store's own promises: what travels, and what a damaged cache costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError

from registry.blobs import blob_name, digest_of
from registry.blobs.s3 import S3Blobs
from registry.errors import DigestMismatch, NotFound, Unavailable

pytestmark = pytest.mark.usefixtures("aws")


class Counting:
    """A boto3 client that counts its calls."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.client, name)
        if not isinstance(found, Callable):  # type: ignore[arg-type]
            return found

        def call(**arguments: Any) -> Any:
            self.calls[name] += 1
            return found(**arguments)

        return call


@pytest.fixture
def client() -> Counting:
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    return Counting(client)


@pytest.fixture
def blobs(client: Any, tmp_path: Path) -> S3Blobs:
    return S3Blobs("bucket", tmp_path, client=client)


def test_only_a_missing_blob_travels(blobs: S3Blobs, client: Counting) -> None:
    digest = blobs.put(b"once")
    blobs.put(b"once")
    assert client.calls == {"head_object": 2, "put_object": 1}
    for _ in range(3):
        blobs.path(digest)
        blobs.get(digest)
    assert client.calls["get_object"] == 1


def test_an_upload_carries_its_sha256_for_s3_to_check(blobs: S3Blobs, client: Counting) -> None:
    digest = blobs.put(b"checked")
    head = client.client.head_object(Bucket="bucket", Key="blobs/" + blob_name(digest), ChecksumMode="ENABLED")
    assert (
        head["ChecksumSHA256"] == "5ho9eMZRM8cmDEPnGdl8RuFr1Qxk7ngAU2zxTGQHphc="
    )  # openssl dgst -sha256 -binary | base64


def test_a_damaged_cached_copy_is_fetched_again(blobs: S3Blobs, client: Counting) -> None:
    digest = blobs.put(b"precious")
    for read in (blobs.path, blobs.get):
        file = blobs.path(digest)
        file.chmod(0o644)
        file.write_bytes(b"damaged")
        read(digest)
        assert file.read_bytes() == b"precious"
    assert client.calls["get_object"] == 3


def test_a_damaged_object_is_fetched_once_and_never_cached(blobs: S3Blobs, client: Counting) -> None:
    digest = blobs.put(b"precious")
    client.client.put_object(Bucket="bucket", Key="blobs/" + blob_name(digest), Body=b"damaged")
    with pytest.raises(DigestMismatch):
        blobs.path(digest)
    assert client.calls["get_object"] == 1
    assert [f for f in blobs.root.rglob("*") if f.is_file()] == []


def test_the_bucket_may_keep_blobs_elsewhere(client: Any, tmp_path: Path) -> None:
    digest = S3Blobs("bucket", tmp_path, prefix="models/", client=client).put(b"x")
    keys = [o["Key"] for o in client.list_objects_v2(Bucket="bucket")["Contents"]]
    assert keys == ["models/" + blob_name(digest)]


def test_a_bucket_that_is_not_there_is_unavailable_and_not_an_absent_blob(tmp_path: Path) -> None:
    blobs = S3Blobs("no-such-bucket", tmp_path)
    with pytest.raises(Unavailable, match="no-such-bucket"):
        blobs.path(digest_of(b"x"))


def test_an_unreachable_endpoint_is_unavailable(client: Counting, tmp_path: Path) -> None:
    class Down:
        def __init__(self) -> None:
            self.exceptions = client.exceptions

        def __getattr__(self, name: str) -> Any:
            def fail(**_: Any) -> Any:
                raise EndpointConnectionError(endpoint_url="https://s3")

            return fail

    down: Any = Down()
    blobs = S3Blobs("bucket", tmp_path, client=down)
    for use in (lambda: blobs.put(b"x"), lambda: blobs.get(digest_of(b"x")), lambda: blobs.has(digest_of(b"x"))):
        with pytest.raises(Unavailable, match="S3 bucket bucket"):
            use()


def test_a_blob_that_neither_side_has_is_not_found(blobs: S3Blobs) -> None:
    with pytest.raises(NotFound):
        blobs.path(digest_of(b"nowhere"))
