"""What every blob store keeps to, whichever it is."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest
from blake3 import blake3

from registry.blobs import Blobs, blob_name, digest_of
from registry.blobs.files import Files
from registry.blobs.s3 import S3Blobs
from registry.errors import DigestMismatch, InvalidValue, NotFound

MISSING = "blake3:" + "0" * 64

Damage = Callable[[str], None]


def _overwrite(file: Path) -> None:
    file.chmod(0o644)
    file.write_bytes(b"damaged")


@pytest.fixture(params=["files", "s3"])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "s3":
        request.getfixturevalue("aws")
        boto3.client("s3").create_bucket(Bucket="bucket")
    return str(request.param)


@pytest.fixture
def reopen(kind: str, tmp_path: Path) -> Callable[[], Blobs]:
    """Opens the same store once more, as another process would; on S3, one with a cold cache."""
    if kind == "files":
        return lambda: Files(tmp_path / "blobs")
    caches = iter(range(1000))
    return lambda: S3Blobs("bucket", tmp_path / f"cache-{next(caches)}")


@pytest.fixture
def blobs(reopen: Callable[[], Blobs]) -> Blobs:
    return reopen()


@pytest.fixture
def damage(kind: str, blobs: Blobs) -> Damage:
    """Spoils a blob where it is stored."""
    if kind == "files":
        return lambda digest: _overwrite(blobs.root / blob_name(digest))

    def spoil(digest: str) -> None:
        boto3.client("s3").put_object(Bucket="bucket", Key="blobs/" + blob_name(digest), Body=b"damaged")

    return spoil


@pytest.mark.parametrize("data", [b"", b"a", bytes(range(256)) * 20_000])
def test_bytes_come_back_under_their_digest(blobs: Blobs, data: bytes) -> None:
    digest = blobs.put(data)
    assert digest == "blake3:" + blake3(data).hexdigest()
    assert blobs.has(digest)
    assert blobs.get(digest) == data
    assert blobs.path(digest).read_bytes() == data


def test_a_view_is_stored_like_bytes(blobs: Blobs) -> None:
    assert blobs.get(blobs.put(memoryview(b"xabcx")[1:4])) == b"abc"


def test_another_store_reads_what_this_one_wrote(blobs: Blobs, reopen: Callable[[], Blobs]) -> None:
    digest = blobs.put(b"shared")
    assert reopen().get(digest) == b"shared"
    assert reopen().path(digest).read_bytes() == b"shared"


def test_putting_twice_stores_once(blobs: Blobs) -> None:
    digest = blobs.put(b"once")
    before = blobs.path(digest).stat()
    assert blobs.put(b"once") == digest
    assert blobs.path(digest).stat().st_ino == before.st_ino


def test_the_file_is_read_only_and_where_the_graph_expects_it(blobs: Blobs) -> None:
    digest = blobs.put(b"tensor")
    file = blobs.path(digest)
    assert file == blobs.root / blob_name(digest)
    assert blobs.folder == str(blobs.root)
    assert stat.S_IMODE(file.stat().st_mode) == 0o444


def test_a_missing_blob_is_not_found(blobs: Blobs) -> None:
    assert not blobs.has(MISSING)
    for read in (blobs.get, blobs.path, blobs.check):
        with pytest.raises(NotFound, match="blob"):
            read(MISSING)


@pytest.mark.parametrize("name", ["", "blake3:", "../../etc/passwd", "blake3:" + "A" * 64, MISSING + "\n", MISSING[7:]])
def test_a_name_that_is_no_digest_is_refused(blobs: Blobs, name: str) -> None:
    for use in (blobs.get, blobs.path, blobs.check, blobs.has):
        with pytest.raises(InvalidValue, match="digest"):
            use(name)


def test_damaged_bytes_are_never_handed_out(blobs: Blobs, reopen: Callable[[], Blobs], damage: Damage) -> None:
    digest = blobs.put(b"precious")
    damage(digest)
    reader = reopen()
    for read in (reader.get, reader.path):
        with pytest.raises(DigestMismatch) as caught:
            read(digest)
        assert (caught.value.expected, caught.value.actual) == (digest, digest_of(b"damaged"))


def test_damage_after_the_first_read_is_seen_at_the_next(blobs: Blobs, damage: Damage) -> None:
    digest = blobs.put(b"precious")
    blobs.path(digest)
    damage(digest)
    _overwrite(blobs.root / blob_name(digest))
    for read in (blobs.get, blobs.path, blobs.check):
        with pytest.raises(DigestMismatch):
            read(digest)


def test_racing_writers_of_one_blob_all_succeed(reopen: Callable[[], Blobs], kind: str) -> None:
    data = os.urandom(1 << 18)
    stores = [reopen() for _ in range(4)]
    barrier = threading.Barrier(len(stores))
    digests: list[str] = []

    def work(store: Blobs) -> None:
        barrier.wait(timeout=30)
        digests.append(store.put(data))

    running = [threading.Thread(target=work, args=(store,)) for store in stores]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(timeout=30)
    assert digests == [digest_of(data)] * len(stores)
    assert reopen().get(digests[0]) == data


def test_the_account_may_be_asked_by_many_threads_at_once(aws: None) -> None:
    from moto.s3 import urls

    # Left alone, moto executes this module anew for each call, and who reads it meanwhile finds no such module.
    known = urls.url_paths
    boto3.client("s3").list_buckets()
    assert urls.url_paths is known
