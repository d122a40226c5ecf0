"""Where bytes live, named by their SHA-256; a blob is never changed, and never handed out unchecked."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Protocol

from registry.errors import InvalidValue

DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


def digest_of(data: bytes | memoryview) -> str:
    """The digest that names these bytes, `sha256:<64 hex>`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def blob_name(digest: str) -> str:
    """Where a blob lies below its store's root: `sha256:abcd…` is at `sha256/ab/abcd…`.

    Raises InvalidValue when `digest` is not one, so no name can lead outside the root.
    """
    match = DIGEST.fullmatch(digest)
    if not match:
        raise InvalidValue("digest", f"{digest!r} is not a digest", "give sha256: and 64 lower-case hex digits")
    return f"sha256/{match[1][:2]}/{match[1]}"


class Blobs(Protocol):
    """A content-addressed store; safe for many threads and processes at once."""

    @property
    def root(self) -> Path:
        """The local folder in which `root / blob_name(digest)` is the file, once `path(digest)` was called."""

    def put(self, data: bytes | memoryview) -> str:
        """Store these bytes unless they are there already; returns their digest."""

    def get(self, digest: str) -> bytes:
        """The bytes of this digest, checked; raises NotFound or DigestMismatch."""

    def path(self, digest: str) -> Path:
        """A local read-only file with the bytes of this digest, checked; raises NotFound or DigestMismatch."""

    def has(self, digest: str) -> bool:
        """Whether a blob of this name is stored; its bytes are not checked."""
