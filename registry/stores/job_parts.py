"""What of a job is too large for its row or item, in a folder or a bucket; knows nothing of the job itself.

A part is at `<tenant hash>/<job>/<name>`. It is written before the row or item that needs it, so a part may be left
that nobody needs, and never a row without its part.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from registry.aws import failures, make_client
from registry.errors import NotFound, Unavailable
from registry.jobs import Job
from registry.tenants import tenant_hash

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BODY, RESULT = "body", "result"


def result_part(job: Job) -> str:
    """The name of what a job's holder made: whoever has lost the job by now overwrites nobody else's."""
    return f"{RESULT}-{job.holder}"


class JobParts(Protocol):
    """Keeps parts; every method raises Unavailable."""

    def put(self, job: Job, name: str, data: bytes) -> None:
        """Keep a part; it is there for good when this returns."""

    def get(self, job: Job, name: str) -> bytes:
        """A part; raises NotFound."""

    def drop(self, tenant: str, job: str) -> None:
        """Forget every part of a job, if there is any."""


class FolderParts:
    """Parts as files below a folder, which is made when it is first needed."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, job: Job, name: str, data: bytes) -> None:
        """See JobParts."""
        folder = self._folder(job.tenant, job.id)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as beside:
                with (file := Path(beside) / name).open("xb") as writing:
                    writing.write(data)
                    writing.flush()
                    os.fsync(writing.fileno())
                file.replace(folder / name)
        except OSError as error:
            raise Unavailable(str(folder), str(error)) from error

    def get(self, job: Job, name: str) -> bytes:
        """See JobParts."""
        path = self._folder(job.tenant, job.id) / name
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise NotFound(f"{name} of job", job.id) from None
        except OSError as error:
            raise Unavailable(str(path), str(error)) from error

    def drop(self, tenant: str, job: str) -> None:
        """See JobParts."""
        shutil.rmtree(self._folder(tenant, job), ignore_errors=True)

    def _folder(self, tenant: str, job: str) -> Path:
        return self._root / tenant_hash(tenant) / job


class BucketParts:
    """Parts as objects under `prefix` of an S3 bucket, which forgets them by a lifecycle rule.

    `client` is made when first needed if not given.
    """

    def __init__(self, bucket: str, *, prefix: str = "jobs/", client: S3Client | None = None) -> None:
        self._bucket, self._prefix = bucket, prefix
        self._made = client

    def put(self, job: Job, name: str, data: bytes) -> None:
        """See JobParts."""
        with failures(f"S3 bucket {self._bucket}"):
            self._client.put_object(
                Bucket=self._bucket, Key=self._key(job.tenant, job.id, name), Body=data, ContentType="application/json"
            )

    def get(self, job: Job, name: str) -> bytes:
        """See JobParts."""
        with failures(f"S3 bucket {self._bucket}"):
            client = self._client
            try:
                with client.get_object(Bucket=self._bucket, Key=self._key(job.tenant, job.id, name))["Body"] as body:
                    return body.read()
            except client.exceptions.NoSuchKey:
                raise NotFound(f"{name} of job", job.id) from None

    def drop(self, tenant: str, job: str) -> None:
        """Nothing: the bucket's lifecycle does, which costs no call."""

    @property
    def _client(self) -> S3Client:
        if self._made is None:
            self._made = make_client("s3")
        return self._made

    def _key(self, tenant: str, job: str, name: str) -> str:
        return f"{self._prefix}{tenant_hash(tenant)}/{job}/{name}"
