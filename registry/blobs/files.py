"""Blobs as read-only files in a folder; a file under its final name is always whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager

from blake3 import blake3

from registry.blobs import blob_name, digest_of, named
from registry.errors import DigestMismatch, NotFound, Unavailable
from registry.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Files:
    """A blob store in the folder `root`, made when missing.

    Each blob is a file of its own, so a mapping of it starts on a page boundary and every process that maps it
    shares one copy in the page cache. Raises Unavailable when the folder or the disk refuses.
    """

    def __init__(self, root: Path | str, *, durable: bool = True) -> None:
        """A store that is not `durable` may lose or damage blobs in a power cut: a cache, whose reads are checked."""
        self._folder = os.path.abspath(root)
        self._durable = durable
        with self._failures():
            os.makedirs(self._folder, exist_ok=True)

    @property
    def root(self) -> Path:
        """The folder."""
        from pathlib import Path  # noqa: PLC0415 - see Blobs.folder

        return Path(self._folder)

    @property
    def folder(self) -> str:
        """The folder, as text."""
        return self._folder

    def put(self, data: bytes | memoryview) -> str:
        """Store these bytes and return their digest; a damaged file of that name is replaced by a sound one."""
        digest = digest_of(data)
        with self._failures():
            if not self._is_sound(digest):
                self.write(digest, (data,))
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes of this digest, checked; raises NotFound or DigestMismatch."""
        with self._failures():
            try:
                with open(self._file(digest), "rb", buffering=0) as file:
                    data = file.read()
            except FileNotFoundError:
                raise NotFound("blob", digest) from None
        actual = digest_of(data)
        if actual != digest:
            raise DigestMismatch(digest, actual)
        return data

    def check(self, digest: str) -> None:
        """Read the blob's file in one pass; raises NotFound or DigestMismatch."""
        with self._failures():
            actual = _digest_of_file(self._file(digest))
        if actual is None:
            raise NotFound("blob", digest)
        if actual != digest:
            raise DigestMismatch(digest, actual)

    def fetch(self, sizes: Mapping[str, int]) -> None:
        """Nothing is elsewhere."""

    def path(self, digest: str) -> Path:
        """The blob's file, checked; raises NotFound or DigestMismatch."""
        self.check(digest)
        return self.root / blob_name(digest)

    def has(self, digest: str) -> bool:
        """Whether a file of this name is there."""
        return os.path.isfile(self._file(digest))

    def rehearse(self) -> None:
        """A read of a file needs nothing beforehand."""

    def renew(self) -> None:
        """Nothing here belongs to one process."""

    def write(self, digest: str, chunks: Iterable[bytes | memoryview]) -> None:
        """Store a stream under the digest that it must have; raises DigestMismatch or OSError, and stores nothing then.

        The bytes go to a temporary file beside the final one, which takes the final name only when they hash to it
        (and are on disk, in a durable store); of two writers of one blob either may come last, for both bring the same
        bytes.
        """
        hasher = blake3()
        with self._incoming(digest) as (handle, _):
            for chunk in chunks:
                hasher.update(chunk)
                _write_all(handle, chunk)
            _check(digest, hasher)

    def assemble(self, digest: str, size: int, fill: Callable[[int], object]) -> None:
        """Store what `fill` writes, in whatever order, into the descriptor of a file of `size` bytes; as `write`."""
        with self._incoming(digest) as (handle, temporary):
            os.truncate(handle, size)
            fill(handle)
            _check(digest, blake3().update_mmap(temporary))

    @contextmanager
    def _incoming(self, digest: str) -> Iterator[tuple[int, str]]:
        """A temporary file, by descriptor and name, that takes the blob's name when the block ends well."""
        import tempfile  # noqa: PLC0415 - readers do not pay for it; a worker's cold start is one

        file = self._file(digest)
        folder = os.path.dirname(file)
        os.makedirs(folder, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".partial-", dir=folder)
        try:
            try:
                yield handle, temporary
                os.fchmod(handle, 0o444)
                if self._durable:
                    os.fsync(handle)
            finally:
                os.close(handle)
            os.replace(temporary, file)
        except BaseException:
            os.unlink(temporary)
            raise
        if self._durable:
            _sync_folder(folder)

    def free_bytes(self) -> int:
        """What the folder's disk still takes. Raises Unavailable."""
        with self._failures():
            disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize

    def drop(self, keep: Container[str]) -> None:
        """Delete every blob but those of `keep`. Whoever has one mapped goes on, and its room is free afterwards."""
        with self._failures():
            for digest in self.digests():
                if digest not in keep:
                    os.unlink(self._file(digest))

    def digests(self) -> Iterator[str]:
        """Every blob that is stored, in order of digest."""
        for file in sorted(self.root.glob("blake3/??/*")):
            if not file.name.startswith("."):
                yield f"blake3:{file.name}"

    def damaged(self) -> tuple[str, ...]:
        """The digests whose files no longer hold their bytes; reads every byte of the store."""
        return tuple(digest for digest in self.digests() if not self._is_sound(digest))

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Unavailable(self._folder, str(error)) from error

    def _file(self, digest: str) -> str:
        return f"{self._folder}/{blob_name(digest)}"

    def _is_sound(self, digest: str) -> bool:
        return _digest_of_file(self._file(digest)) == digest


def _digest_of_file(file: str) -> str | None:
    try:
        return named(blake3().update_mmap(file))
    except FileNotFoundError:
        return None


def _check(digest: str, hasher: blake3) -> None:
    actual = named(hasher)
    if actual != digest:
        raise DigestMismatch(digest, actual)


def _write_all(handle: int, chunk: bytes | memoryview) -> None:
    left = memoryview(chunk).cast("B")
    while left:
        left = left[os.write(handle, left) :]


def _sync_folder(folder: str) -> None:
    """Make a rename in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
