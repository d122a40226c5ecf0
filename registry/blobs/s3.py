"""Blobs in an S3 bucket behind a local cache folder; a blob is checked on arrival and again on every use."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing
from typing import TYPE_CHECKING

from registry.aws import failures, make_client, rehearse
from registry.blobs import blob_name, digest_of
from registry.blobs.files import Files
from registry.errors import DigestMismatch, NotFound
from registry.provenance import Located
from registry.threads import begin

if TYPE_CHECKING:
    from pathlib import Path

    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

PART_BYTES = 1 << 20
"""Read from the network at a time; hashing keeps pace, so larger parts gain nothing but memory."""

RANGE_BYTES = 8 << 20
"""Of one request for a part of a large blob (S3's performance guidelines: 8 to 16 MB)."""

AT_ONCE = 16
"""Requests under way: a GET waits tens of milliseconds for its first byte, and one stream carries some 90 MB/s (the
same guidelines), whatever the CPU share."""


SPARE_BYTES = 16 << 20
"""Of the cache's disk, for what is fetched without its size being known: manifests, graphs, bindings."""

GONE = frozenset({"NoSuchVersion", "NoSuchKey", "InvalidArgument", "AccessDenied"})
"""What S3 says of a version that is not there, or is no id of one; the last to who may not list, as no worker may."""


class S3Blobs:
    """A blob store under `prefix` of a bucket, with `cache` as its local folder.

    S3 checks an upload against its SHA-256 itself. `client` is a boto3 S3 client, made when first needed if not
    given. Raises Unavailable when S3 refuses or cannot be reached.
    """

    def __init__(
        self, bucket: str, cache: Path | str, *, prefix: str = "blobs/", client: S3Client | None = None
    ) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._cache = Files(cache, durable=False)
        self._given = client
        self._made: S3Client | None = None
        self._making = threading.Lock()
        self._versions: dict[str, str] = {}
        """Of blobs that are read from a version of their object."""

    @property
    def root(self) -> Path:
        """The cache folder; a blob's file is there once `path(digest)` was called."""
        return self._cache.root

    @property
    def folder(self) -> str:
        """The cache folder, as text."""
        return self._cache.folder

    def put(self, data: bytes | memoryview) -> str:
        """Upload these bytes unless the bucket has them; returns their digest."""
        digest = digest_of(data)
        return digest if self.has(digest) else self.upload(data)

    def upload(self, data: bytes | memoryview) -> str:
        """Upload these bytes whatever the bucket has; returns their digest."""
        import base64  # noqa: PLC0415 - a worker only reads
        import hashlib  # noqa: PLC0415

        digest = digest_of(data)
        with self._failures():
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._key(digest),
                Body=bytes(data),
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=base64.b64encode(hashlib.sha256(data).digest()).decode(),
            )
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes of this digest, checked, from the cache or the bucket; raises NotFound or DigestMismatch."""
        self._fetch_if_missing(digest)
        try:
            return self._cache.get(digest)
        except DigestMismatch:
            self._fetch(digest)
            return self._cache.get(digest)

    def check(self, digest: str) -> None:
        """Have the blob in the cache; a damaged copy is fetched anew, once. Raises NotFound or DigestMismatch."""
        self._fetch_if_missing(digest)
        try:
            self._cache.check(digest)
        except DigestMismatch:
            self._fetch(digest)
            self._cache.check(digest)

    def fetch(self, sizes: Mapping[str, int]) -> Callable[[], None] | None:
        """Begin to fetch what the cache lacks, large blobs in parts; returns what waits for it, None for nothing.

        Where its disk has no room for them (a function's has 512 MB unless more is asked for) the cache gives up all
        others. Waiting raises NotFound, DigestMismatch or Unavailable, as reading one of them would.
        """
        missing = [(digest, size) for digest, size in sizes.items() if not self._cache.has(digest)]
        if missing and sum(size for _, size in missing) + SPARE_BYTES > self._cache.free_bytes():
            self._cache.drop(keep=sizes)
        share = AT_ONCE // max(1, sum(size > RANGE_BYTES for _, size in missing))

        def bring(blob: tuple[str, int]) -> None:
            digest, size = blob
            if size > RANGE_BYTES:
                self._fetch_in_parts(digest, size, max(1, share))
            else:
                self._fetch(digest)

        return begin(bring, missing, min(AT_ONCE, len(missing))) if missing else None

    def path(self, digest: str) -> Path:
        """The blob's cached file, checked as `check` does."""
        self.check(digest)
        return self.root / blob_name(digest)

    def has(self, digest: str) -> bool:
        """Whether the bucket has a blob of this name; one that is bound is taken to be there, whatever its key is."""
        if digest in self._versions:
            return True
        with self._failures():
            client = self._client
            try:
                client.head_object(Bucket=self._bucket, Key=self._key(digest))
            except client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] in {"404", "NoSuchKey"}:
                    return False
                raise
        return True

    def locate(self, digest: str) -> Located:
        """The current version of a blob, with what S3 says of its bytes; raises NotFound."""
        key = self._key(digest)
        with self._failures():
            client = self._client
            try:
                head = client.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
            except client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] in {"404", "NoSuchKey"}:
                    raise NotFound("blob", digest) from None
                raise
        version = head.get("VersionId", "null")
        checksum = _hex(head.get("ChecksumSHA256", ""))
        return Located(self._bucket, key, "" if version == "null" else version, checksum, head["ContentLength"])

    def bind(self, versions: Mapping[str, str]) -> None:
        """Read these blobs, by digest, from these versions from now on; one that is gone is read by its key."""
        self._versions.update(versions)

    def rehearse(self) -> None:
        """Import the SDK and read its model of S3: nine tenths of what the first read would take."""
        if self._given is None:
            rehearse("s3")

    def renew(self) -> None:
        """Let go of the client that was made here; the next read makes another, with credentials of that time."""
        self._made = None

    def _fetch_if_missing(self, digest: str) -> None:
        if not self._cache.has(digest):
            self._fetch(digest)

    def _fetch(self, digest: str) -> None:
        """Stream the blob into the cache, hashing on the way; wrong bytes never get a final name."""
        with self._failures(), closing(self._body(digest)) as body:
            self._cache.write(digest, body.iter_chunks(PART_BYTES))

    def _fetch_in_parts(self, digest: str, size: int, at_once: int) -> None:
        """What `_fetch` does, by so many requests at once for RANGE_BYTES each."""

        def fill(handle: int) -> None:
            def part(start: int) -> None:
                with closing(self._body(digest, Range=f"bytes={start}-{start + RANGE_BYTES - 1}")) as body:
                    at = start
                    for chunk in body.iter_chunks(PART_BYTES):
                        at += os.pwrite(handle, chunk, at)

            begin(part, range(0, size, RANGE_BYTES), at_once - 1)()

        with self._failures():
            self._cache.assemble(digest, size, fill)

    def _body(self, digest: str, **request: str) -> StreamingBody:
        client, key, version = self._client, self._key(digest), self._versions.get(digest)
        if version is not None:
            try:
                return client.get_object(Bucket=self._bucket, Key=key, VersionId=version, **request)["Body"]  # type: ignore[arg-type]
            except client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] not in GONE:
                    raise
        try:
            return client.get_object(Bucket=self._bucket, Key=key, **request)["Body"]  # type: ignore[arg-type]
        except client.exceptions.NoSuchKey:
            raise NotFound("blob", digest) from None

    def _key(self, digest: str) -> str:
        return self._prefix + blob_name(digest)

    @property
    def _client(self) -> S3Client:
        if self._given is not None:
            return self._given
        with self._making:
            if self._made is None:
                self._made = make_client("s3")
            return self._made

    def _failures(self) -> AbstractContextManager[None]:
        return failures(f"S3 bucket {self._bucket}")


def _hex(checksum: str) -> str:
    """S3's base64 as hex digits."""
    import base64  # noqa: PLC0415 - a worker only reads

    return base64.b64decode(checksum).hex()
