"""How the registry reaches AWS; boto3 is imported only when a client is first needed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, overload

from registry.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

_making = threading.Lock()
"""Clients may be shared between threads, sessions may not (boto3 guide, 'Multithreading')."""


@overload
def make_client(service: Literal["dynamodb"]) -> DynamoDBClient: ...
@overload
def make_client(service: Literal["s3"]) -> S3Client: ...
def make_client(service: Literal["dynamodb", "s3"]) -> DynamoDBClient | S3Client:
    """A client from the environment's credentials and region; takes a third of a second for its first import.

    Facts are small and read off the request path: a few quick tries serve better than the SDK's minute of waiting.
    """
    import boto3.session  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    config = Config(connect_timeout=2, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 4})
    with _making:
        return boto3.session.Session().client(service, config=config)


@contextmanager
def failures(where: str) -> Iterator[None]:
    """Turn what the SDK raises into Unavailable at `where`, and what reading or keeping its streams does."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    try:
        yield
    except (BotoCoreError, ClientError, OSError) as error:
        raise Unavailable(where, str(error)) from error
