"""The worker's Lambda function: settings, one Worker per execution environment, snapshot hooks; never any logic."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snapshot_restore_py import register_after_restore, register_before_snapshot

from registry.blobs import Blobs
from registry.blobs.files import Files
from runtime.worker import Worker, parse_preload


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment's variables say."""

    blobs: str
    memory_mb: int
    threads: int
    preload: str

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> Settings:
        """Settings from environment variables; raises ValueError naming every variable that is missing."""
        needed = ("MODELLESS_BLOBS", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "MODELLESS_THREADS")
        missing = [name for name in needed if not variables.get(name)]
        if missing:
            raise ValueError(f"missing environment variables: {', '.join(missing)}")
        blobs, memory_mb, threads = (variables[name] for name in needed)
        return cls(blobs, int(memory_mb), int(threads), variables.get("MODELLESS_PRELOAD", ""))


def open_blobs(place: str) -> Blobs:
    """The blob store at a path, or at s3://bucket/prefix."""
    if place.startswith("s3://"):
        from registry.blobs.s3 import S3Blobs  # noqa: PLC0415 - boto3 only where it is needed

        return S3Blobs.open(place)
    return Files(Path(place))


settings = Settings.read(os.environ)
worker = Worker(open_blobs(settings.blobs), memory_mb=settings.memory_mb, threads=settings.threads)
worker.preload(parse_preload(settings.preload))
register_before_snapshot(worker.before_snapshot)
register_after_restore(worker.after_restore)


def handler(event: Any, context: Any) -> dict[str, Any]:
    """One event to one reply; errors leave by their class names."""
    return worker.handle(event)
