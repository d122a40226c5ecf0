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
        import base64  # noqa: PLC0415 - a worker only reads
        import hashlib  # noqa: PLC0415

        digest = digest_of(data)
        if not self.has(digest):
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

        Waiting raises NotFound, DigestMismatch or Unavailable, as reading one of them would.
        """
        missing = [(digest, size) for digest, size in sizes.items() if not self._cache.has(digest)]
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
        """Whether the bucket has a blob of this name."""
        with self._failures():
            client = self._client
            try:
                client.head_object(Bucket=self._bucket, Key=self._key(digest))
            except client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] in {"404", "NoSuchKey"}:
                    return False
                raise
        return True

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
        client = self._client
        try:
            return client.get_object(Bucket=self._bucket, Key=self._key(digest), **request)["Body"]  # type: ignore[arg-type]
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
