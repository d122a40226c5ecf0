"""Which versions of which objects an artifact's blobs are, written down when they are published; opens no bucket.

A digest says what bytes must be; it does not keep them there. Whoever overwrites an object in its bucket takes a
variant away from everybody, though nobody is ever served other bytes. So a publisher writes down the version of each
object, as a blob of its own (a binding), and whoever loads the artifact reads these versions. A version that is gone is
read by its key, as without a binding; the digest decides in either case.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from registry.artifacts import read_manifest
from registry.blobs import Blobs, blob_name, digest_of
from registry.errors import InvalidValue
from registry.typed import Any, NamedTuple, Protocol

FORMAT = "modelless-binding-1"

MOST_VERSION = 1024
"""Characters of a version's id (S3)."""


class Located(NamedTuple):
    """One version of an object."""

    bucket: str
    key: str
    version: str
    """Empty in a bucket that keeps none."""
    sha256: str
    """Of its bytes, 64 hex digits, as the bucket itself computed it; empty where it did not."""
    nbytes: int


class Versioned(Protocol):
    """A blob store whose objects have versions."""

    def locate(self, digest: str) -> Located:
        """The current version of a blob; raises NotFound."""

    def upload(self, data: bytes | memoryview) -> str:
        """Store these bytes whatever is there; returns their digest."""

    def bind(self, versions: Mapping[str, str]) -> None:
        """Read these blobs, by digest, from these versions from now on."""


class BoundBlobs(Blobs, Versioned, Protocol):
    """Both."""


def bind_artifact(source: Blobs, target: BoundBlobs, digest: str) -> str:
    """Write down the versions of an artifact's blobs in `target`, the reference that `follow` takes.

    An object with other bytes than the source's is put right first. Empty where the bucket keeps no versions. Raises
    NotFound.
    """
    needed = (*read_manifest(source, digest).digests, digest)
    found = {blob: _located(source.get(blob), target) for blob in needed}
    if not all(located.version for located in found.values()):
        return ""
    blobs = {blob: located._asdict() for blob, located in found.items()}
    document = {"format": FORMAT, "artifact": digest, "blobs": blobs}
    text = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    binding = target.put(text)
    return f"{binding}@{_located(text, target).version}"


def _located(data: bytes, target: BoundBlobs) -> Located:
    """The version of the object that has these bytes."""
    import hashlib  # noqa: PLC0415 - a worker only follows

    located = target.locate(digest_of(data))
    if located.sha256 == hashlib.sha256(data).hexdigest():
        return located
    return target.locate(target.upload(data))


def follow(blobs: Blobs, reference: str, artifact: str) -> None:
    """Read an artifact from the versions that its binding names, from now on, if the store has versions.

    Raises InvalidValue for what is no binding, or another artifact's, and what reading it raises.
    """
    binding, version = _parts(reference)
    bind: Callable[[Mapping[str, str]], None] | None = getattr(blobs, "bind", None)
    if bind is None:
        return
    bind({binding: version})
    try:
        document = json.loads(blobs.get(binding))
        if document["format"] != FORMAT or document["artifact"] != artifact:
            raise ValueError(f"{document['format']!r} of {document['artifact']!r}")
        versions = {_digest(blob): _version(found["version"]) for blob, found in document["blobs"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise InvalidValue(f"binding {binding}", f"is not artifact {artifact}'s ({fault})", "push it again") from fault
    bind(versions)


def _parts(reference: str) -> tuple[str, str]:
    binding, _, version = reference.partition("@")
    try:
        return _digest(binding), _version(version)
    except ValueError as fault:
        raise InvalidValue("binding", f"{reference!r:.120} is none ({fault})", "push the variant again") from None


def _digest(value: str) -> str:
    blob_name(value)
    return value


def _version(value: Any) -> str:
    if (
        not isinstance(value, str)
        or not 0 < len(value) <= MOST_VERSION
        or not value.isascii()
        or not value.isprintable()
    ):
        raise ValueError(f"version {value!r:.60}")
    return value
