"""The worker's Lambda function: settings, one Worker per execution environment, snapshot hooks; never any logic."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from registry.blobs import Blobs
from registry.blobs.files import Files
from registry.typed import Any, NamedTuple
from runtime.worker import Worker, parse_preload

_NUMBERS = ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "MODELLESS_THREADS")


class Settings(NamedTuple):
    """What the environment's variables say."""

    blobs: str
    memory_mb: int
    threads: int
    preload: str
    signing_key: str
    """That artifacts must be signed with; none: they need not be."""

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> Settings:
        """Settings from environment variables; raises ValueError naming every variable that is missing or no number."""
        faults = [name for name in ("MODELLESS_BLOBS", *_NUMBERS) if not variables.get(name)]
        faults += [name for name in _NUMBERS if variables.get(name) and not variables[name].isdecimal()]
        if faults:
            raise ValueError(f"environment variables are missing, or not the numbers they must be: {', '.join(faults)}")
        key = variables.get("SIGNING_KEY_ARN", "")
        memory_mb, threads = (int(variables[name]) for name in _NUMBERS)
        return cls(variables["MODELLESS_BLOBS"], memory_mb, threads, variables.get("MODELLESS_PRELOAD", ""), key)


def open_blobs(place: str) -> Blobs:
    """The blob store in a folder, or at s3://bucket/prefix behind Lambda's one writable folder."""
    if not place.startswith("s3://"):
        return Files(place)
    from registry.blobs.s3 import S3Blobs  # noqa: PLC0415 - boto3 only where it is needed

    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    return S3Blobs(bucket, "/tmp/modelless-blobs", prefix=f"{prefix.rstrip('/')}/" if prefix else "")  # noqa: S108


def verifier(key: str) -> Callable[[str, str], None] | None:
    """What refuses an artifact that a key of KMS has not signed; None where no key is named."""
    if not key:
        return None
    from registry.signing import KmsSigner  # noqa: PLC0415 - as above

    return KmsSigner(key).verify


settings = Settings.read(os.environ)
blobs, verify = open_blobs(settings.blobs), verifier(settings.signing_key)
worker = Worker(blobs, memory_mb=settings.memory_mb, threads=settings.threads, verify=verify)
worker.preload(parse_preload(settings.preload))
if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
    from snapshot_restore_py import register_after_restore, register_before_snapshot

    register_before_snapshot(worker.before_snapshot)
    register_after_restore(worker.after_restore)


def handler(event: Any, context: Any) -> dict[str, Any]:
    """One event to one reply; errors leave by their class names."""
    reply = worker.handle(event)
    if reply["loaded"] and "STACK_NAME" in os.environ:
        from functions.aws.loads import tell_of_load  # noqa: PLC0415 - a cold start that loads nothing does without

        tell_of_load(event["variant"], reply, os.environ)
    return reply
