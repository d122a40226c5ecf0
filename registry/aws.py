"""How the registry reaches AWS; the SDK is imported only when a client is first needed, or rehearsed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from registry.errors import Unavailable

if TYPE_CHECKING:
    from botocore.config import Config
    from botocore.session import Session
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

CONNECTIONS = 32
"""Kept open to one service at most: as many as a large artifact is fetched by."""

ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""Variables that name an emulator in place of S3."""

CONNECT_TIMEOUT_S = 2

READ_TIMEOUT_S = 3
"""Facts are answered within some ten milliseconds, or by another host."""

OBJECT_TIMEOUT_S = 5
"""S3 may take a second to begin an answer."""

ATTEMPTS = 3
"""Of a call, with up to 1 and 2 s between them (botocore's standard mode). So whoever is not answered knows within
12 s, or 18 s of S3: a function that has read its catalogue and then asks for one thing more still answers by itself, in
the 29 s that it has."""

_rehearsed: Session | None = None
"""A session that has read its models, and no credentials, in a process that is a snapshot's."""

_making = threading.Lock()
"""Clients may be shared between threads, sessions may not (boto3 guide, 'Multithreading')."""


@overload
def make_client(service: Literal["dynamodb"]) -> DynamoDBClient: ...
@overload
def make_client(service: Literal["s3"]) -> S3Client: ...
@overload
def make_client(service: Literal["sqs"]) -> SQSClient: ...
@overload
def make_client(service: Literal["kms"]) -> Any: ...
def make_client(service: Literal["dynamodb", "s3", "sqs", "kms"]) -> DynamoDBClient | S3Client | SQSClient | Any:
    """A client from the environment's credentials and region; takes a third of a second for its first import.

    botocore makes it, from which boto3 gets its own: to import boto3 for the same client takes a quarter longer. Facts
    are small and read off the request path: a few quick tries serve better than the SDK's minute of waiting.
    """
    with _making:
        made = _session().create_client(service, config=_config(service))
        return cast("DynamoDBClient | S3Client | SQSClient", made)


def rehearse(service: Literal["dynamodb", "s3"]) -> None:
    """Import and read what the first client of a service needs, so that a snapshot holds it.

    It opens no connection and asks nobody for credentials: those of the snapshot would be every copy's, and expired by
    the time that most of them start. The next client made takes 8 ms rather than 300.
    """
    global _rehearsed  # noqa: PLW0603 - what is kept is the process's, as the modules are
    with _making:
        _rehearsed = _session()
        # Stand-ins, so that the maker of the client does not look for credentials.
        nobody = "-"
        _rehearsed.create_client(
            service, config=_config(service), aws_access_key_id=nobody, aws_secret_access_key=nobody
        )


def _session() -> Session:
    import botocore.session  # noqa: PLC0415

    return _rehearsed or botocore.session.get_session()


def _config(service: str) -> Config:
    from botocore.config import Config  # noqa: PLC0415

    # Left alone, the SDK presigns for the one host that all regions had once: in newer ones it knows no bucket, and in
    # the others none of today's. An emulator's host has no names below it.
    regional = service == "s3" and not any(os.environ.get(name) for name in ENDPOINTS)
    return Config(
        s3={"addressing_style": "virtual"} if regional else None,
        # Left alone, the SDK presigns for S3 with version 2, which vouches for no header: neither size nor type.
        signature_version="s3v4" if service == "s3" else "v4",
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=OBJECT_TIMEOUT_S if service == "s3" else READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        max_pool_connections=CONNECTIONS,
    )


@contextmanager
def failures(where: str) -> Iterator[None]:
    """Turn what the SDK raises into Unavailable at `where`, and what reading or keeping its streams does."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    try:
        yield
    except (BotoCoreError, ClientError, OSError) as error:
        raise Unavailable(where, str(error)) from error
