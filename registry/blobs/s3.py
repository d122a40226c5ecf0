"""Blobs in an S3 bucket behind a local cache folder; a blob is checked on arrival and again on every use."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from registry.aws import failures, make_client
from registry.blobs import blob_name, digest_of
from registry.blobs.files import Files
from registry.errors import DigestMismatch, NotFound

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_s3 import S3Client

PART_BYTES = 1 << 20
"""Read from the network at a time; hashing keeps pace, so larger parts gain nothing but memory."""


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
        self._cache = Files(cache)
        self._given = client

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

    def _fetch_if_missing(self, digest: str) -> None:
        if not self._cache.has(digest):
            self._fetch(digest)

    def _fetch(self, digest: str) -> None:
        """Stream the blob into the cache, hashing on the way; wrong bytes never get a final name."""
        with self._failures():
            client = self._client
            try:
                body = client.get_object(Bucket=self._bucket, Key=self._key(digest))["Body"]
            except client.exceptions.NoSuchKey:
                raise NotFound("blob", digest) from None
            with body:
                self._cache.write(digest, body.iter_chunks(PART_BYTES))

    def _key(self, digest: str) -> str:
        return self._prefix + blob_name(digest)

    @property
    def _client(self) -> S3Client:
        if self._given is None:
            self._given = make_client("s3")
        return self._given

    def _failures(self) -> AbstractContextManager[None]:
        return failures(f"S3 bucket {self._bucket}")
