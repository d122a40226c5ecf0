"""The S3 store's own promises: what travels, and what a damaged cache costs."""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from registry.blobs import blob_name, digest_of, s3
from registry.blobs.files import Files
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


class Gathering(Counting):
    """A client whose GETs wait until so many are under way."""

    def __init__(self, client: Any, at_once: int) -> None:
        super().__init__(client)
        self.barrier = threading.Barrier(at_once)
        self.ranges: list[str | None] = []

    def get_object(self, **arguments: Any) -> Any:
        self.ranges.append(arguments.get("Range"))
        self.barrier.wait(timeout=30)
        return self.client.get_object(**arguments)


def test_all_that_an_artifact_lacks_is_fetched_at_once(blobs: S3Blobs, client: Counting, tmp_path: Path) -> None:
    here, *elsewhere = (blobs.put(bytes([i])) for i in range(5))
    gathering: Any = Gathering(client.client, at_once=4)
    reader = S3Blobs("bucket", tmp_path / "cold", client=client)  # type: ignore[arg-type]
    reader.get(here)

    wait = S3Blobs("bucket", tmp_path / "cold", client=gathering).fetch(dict.fromkeys([here, *elsewhere], 1))

    assert wait is not None
    wait()
    before = client.calls["get_object"]
    assert [reader.get(digest) for digest in elsewhere] == [bytes([i]) for i in range(1, 5)]
    assert client.calls["get_object"] == before
    assert reader.fetch(dict.fromkeys([here, *elsewhere], 1)) is None


@pytest.mark.parametrize(("free", "kept"), [(100 << 20, True), (s3.SPARE_BYTES, False)])
def test_a_full_disk_is_cleared_for_what_is_loaded_next(
    blobs: S3Blobs, monkeypatch: pytest.MonkeyPatch, free: int, kept: bool
) -> None:
    """A function's environment lives on with the disk that it has, whatever it has served before."""
    old, half, new = (blobs.put(data) for data in (b"old", b"half", b"new"))
    mapped = blobs.path(old).open("rb")
    blobs.path(half)
    monkeypatch.setattr(blobs._cache, "free_bytes", lambda: free)

    wait = blobs.fetch({half: 4, new: 3})

    assert wait is not None
    wait()
    assert [(blobs.root / blob_name(digest)).exists() for digest in (old, half, new)] == [kept, True, True]
    with mapped:
        assert mapped.read() == b"old"
    assert blobs.fetch({old: 3}) is None if kept else blobs.get(old) == b"old"


def test_a_disk_says_what_it_still_takes(tmp_path: Path) -> None:
    files = Files(tmp_path)
    assert 0 < files.free_bytes() <= shutil.disk_usage(tmp_path).total


def test_a_large_blob_comes_in_parts_at_once(
    blobs: S3Blobs, client: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "RANGE_BYTES", 1000)
    data = bytes(i % 251 for i in range(2500))
    gathering: Any = Gathering(client.client, at_once=3)
    reader = S3Blobs("bucket", tmp_path / "cold", client=gathering)

    wait = reader.fetch({blobs.put(data): len(data)})

    assert wait is not None
    wait()
    assert sorted(map(str, gathering.ranges)) == ["bytes=0-999", "bytes=1000-1999", "bytes=2000-2999"]
    assert reader.get(digest_of(data)) == data


@pytest.mark.parametrize("size", [1, 2500])
def test_what_is_fetched_damaged_is_told_and_not_kept(
    blobs: S3Blobs, client: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(s3, "RANGE_BYTES", 1000)
    digest = blobs.put(bytes(size))
    client.client.put_object(Bucket="bucket", Key="blobs/" + blob_name(digest), Body=b"x" * size)
    reader = S3Blobs("bucket", tmp_path / "cold", client=client)  # type: ignore[arg-type]

    wait = reader.fetch({digest: size})

    assert wait is not None
    with pytest.raises(DigestMismatch):
        wait()
    assert [file for file in reader.root.rglob("*") if file.is_file()] == []


@pytest.mark.parametrize("code", ["NoSuchVersion", "AccessDenied"])
def test_a_version_that_is_gone_is_gone_also_for_who_may_not_list(
    blobs: S3Blobs, client: Counting, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """S3 says what is missing to who may list the bucket, and forbids it to everybody else."""
    digest, get = blobs.put(b"kept"), client.client.get_object

    def guarded(**request: Any) -> Any:
        if "VersionId" in request:
            raise ClientError({"Error": {"Code": code}}, "GetObject")
        return get(**request)

    monkeypatch.setattr(client.client, "get_object", guarded)
    blobs.bind({digest: "expired"})

    assert blobs.get(digest) == b"kept"


@pytest.mark.parametrize("size", [1, 2500])
def test_what_cannot_be_fetched_is_not_found(blobs: S3Blobs, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(s3, "RANGE_BYTES", 1000)
    wait = blobs.fetch({digest_of(b"nowhere"): size})

    assert wait is not None
    with pytest.raises(NotFound):
        wait()


def test_a_renewed_store_makes_its_client_anew(
    client: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr(s3, "make_client", lambda service: made.append(service) or client)
    blobs = S3Blobs("bucket", tmp_path)
    blobs.put(b"x")
    blobs.put(b"y")
    assert made == ["s3"]

    blobs.renew()
    blobs.put(b"z")
    assert made == ["s3", "s3"]
