"""The file store's own promises: atomic, self-healing, nothing partial."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.blobs import blob_name, digest_of
from registry.blobs.files import Files
from registry.errors import DigestMismatch, NotFound, Unavailable


def _all_files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


def _damage(file: Path) -> None:
    file.chmod(0o644)
    file.write_bytes(b"damaged")


def test_a_stream_is_stored_under_its_digest(tmp_path: Path) -> None:
    store = Files(tmp_path)
    store.write(digest_of(b"one two"), [b"one", b" ", b"two"])
    assert store.get(digest_of(b"one two")) == b"one two"


def test_a_stream_of_other_bytes_leaves_nothing(tmp_path: Path) -> None:
    store = Files(tmp_path)
    with pytest.raises(DigestMismatch):
        store.write(digest_of(b"promised"), [b"delivered"])
    assert _all_files(tmp_path) == []


def test_a_stream_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"one"
        raise ConnectionResetError("cable cut")

    store = Files(tmp_path)
    with pytest.raises(ConnectionResetError):
        store.write(digest_of(b"one two"), broken())
    assert _all_files(tmp_path) == []


def test_parts_in_any_order_make_a_blob(tmp_path: Path) -> None:
    def fill(handle: int) -> None:
        os.pwrite(handle, b"two", 4)
        os.pwrite(handle, b"one ", 0)

    store = Files(tmp_path, durable=False)
    store.assemble(digest_of(b"one two"), 7, fill)
    assert store.get(digest_of(b"one two")) == b"one two"


def test_a_missing_part_leaves_nothing(tmp_path: Path) -> None:
    store = Files(tmp_path)
    with pytest.raises(DigestMismatch):
        store.assemble(digest_of(b"one two"), 7, lambda handle: os.pwrite(handle, b"one ", 0))
    assert _all_files(tmp_path) == []


@pytest.mark.parametrize("durable", [True, False])
def test_only_a_durable_store_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)

    Files(tmp_path, durable=durable).put(b"precious")

    assert bool(synced) is durable


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    store = Files(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(Unavailable, match="File too large"):
            store.put(bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert _all_files(tmp_path) == []


def test_what_cannot_be_read_or_replaced_is_said(tmp_path: Path) -> None:
    store = Files(tmp_path / "blobs")
    (tmp_path / "blobs" / blob_name(digest_of(b"x"))).mkdir(parents=True)
    for use in (store.get, store.check, store.path):
        with pytest.raises(Unavailable, match="directory"):
            use(digest_of(b"x"))
    with pytest.raises(Unavailable, match="directory"):
        store.put(b"x")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable, match="file"):
        Files(tmp_path / "file")


def test_putting_again_heals_a_damaged_blob(tmp_path: Path) -> None:
    store = Files(tmp_path)
    digest = store.put(b"precious")
    _damage(store.path(digest))
    assert store.damaged() == (digest,)
    assert store.put(b"precious") == digest
    assert store.get(digest) == b"precious"
    assert store.damaged() == ()


def test_healing_does_not_change_the_file_that_a_reader_has_open(tmp_path: Path) -> None:
    store = Files(tmp_path)
    digest = store.put(b"precious")
    file = store.path(digest)
    _damage(file)
    with file.open("rb") as opened:
        store.put(b"precious")
        assert opened.read() == b"damaged"
    assert file.read_bytes() == b"precious"


def test_a_writer_killed_half_way_leaves_no_blob(tmp_path: Path) -> None:
    script = """
import os, sys
from pathlib import Path
from registry.blobs import digest_of
from registry.blobs.files import Files

def chunks():
    yield b"half"
    os._exit(9)

Files(Path(sys.argv[1])).write(digest_of(b"half of it"), chunks())
"""
    died = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False, timeout=60)
    store, digest = Files(tmp_path), digest_of(b"half of it")
    assert died.returncode == 9
    assert not store.has(digest)
    assert list(store.digests()) == []
    with pytest.raises(NotFound):
        store.path(digest)
    assert store.put(b"half of it") == digest
    assert store.get(digest) == b"half of it"


def test_digests_lists_every_blob_in_order(tmp_path: Path) -> None:
    store = Files(tmp_path)
    stored = {store.put(os.urandom(10)) for _ in range(20)}
    assert list(store.digests()) == sorted(stored)


def test_a_relative_root_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Files(Path("blobs"))
    digest = store.put(b"x")
    monkeypatch.chdir("/")
    assert store.path(digest) == tmp_path / "blobs" / blob_name(digest)
