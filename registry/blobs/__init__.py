"""Where bytes live, named by their BLAKE3 digest; a blob is never changed, and never handed out unchecked.

Every read hashes every byte, so the hash is paid on each cold start: BLAKE3 takes 17 ms for 100 MB where SHA-256 takes
64 (one core, AVX-512), at the same collision resistance, and spares the worker the import of OpenSSL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from blake3 import blake3

from registry.errors import InvalidValue
from registry.typed import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

_HEX = frozenset("0123456789abcdef")


def digest_of(data: bytes | memoryview) -> str:
    """The digest that names these bytes, `blake3:<64 hex>`."""
    return named(blake3(data))


def named(hasher: blake3) -> str:
    """The digest that names what a hasher has read."""
    return "blake3:" + hasher.hexdigest()


def blob_name(digest: str) -> str:
    """Where a blob lies below its store's root: `blake3:abcd…` is at `blake3/ab/abcd…`.

    Raises InvalidValue when `digest` is not one, so no name can lead outside the root.
    """
    scheme, _, name = digest.partition(":")
    if scheme != "blake3" or len(name) != 64 or not _HEX.issuperset(name):
        raise InvalidValue("digest", f"{digest!r} is not a digest", "give blake3: and 64 lower-case hex digits")
    return f"blake3/{name[:2]}/{name}"


class Blobs(Protocol):
    """A content-addressed store; safe for many threads and processes at once."""

    @property
    def root(self) -> Path:
        """The local folder in which `root / blob_name(digest)` is the file, once it was checked."""

    @property
    def folder(self) -> str:
        """`root` as text, for a worker: the import of pathlib would take 2 ms of its cold start."""

    def put(self, data: bytes | memoryview) -> str:
        """Store these bytes unless they are there already; returns their digest."""

    def get(self, digest: str) -> bytes:
        """The bytes of this digest, checked; raises NotFound or DigestMismatch."""

    def check(self, digest: str) -> None:
        """Have the local file of this digest, with its bytes in it; raises NotFound or DigestMismatch."""

    def fetch(self, sizes: Mapping[str, int]) -> Callable[[], None] | None:
        """Begin to bring here what is elsewhere of these digests; returns what waits for it, None for nothing.

        Waiting raises NotFound, DigestMismatch or Unavailable. `sizes` are in bytes, 0 where unknown: a large blob can
        come in several parts at once.
        """

    def path(self, digest: str) -> Path:
        """A local read-only file with the bytes of this digest, checked; raises NotFound or DigestMismatch."""

    def has(self, digest: str) -> bool:
        """Whether a blob of this name is stored; its bytes are not checked."""

    def rehearse(self) -> None:
        """Do what the first read would otherwise have to do first, without a connection or a credential."""

    def renew(self) -> None:
        """Forget connections and credentials: after a snapshot they are the property of every copy."""
