"""Faults around an AWS client: calls that are refused, never arrive, or are carried out and not answered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from random import Random
from typing import Any

from botocore.exceptions import ClientError, ConnectionClosedError


class Died(BaseException):
    """The process that made the call is gone: nothing of it goes on, not even what handles errors."""


class FaultyClient:
    """A client whose calls fail by chance; each operation is drawn anew, and what it wraps is a real client.

    `refused` raises before the call, as a throttle does; `unanswered` after it was carried out; `died` before it, as
    the end of the caller's process. Reading and writing alike; safe for threads.
    """

    def __init__(
        self, client: Any, random: Random, *, refused: float = 0.0, unanswered: float = 0.0, died: float = 0.0
    ) -> None:
        self._client = client
        self._random = random
        self._lock = threading.Lock()
        self._rates = (refused, unanswered, died)
        self.on = True
        """Whether anything fails now."""
        self.calls = 0
        self.failures = 0

    @property
    def exceptions(self) -> Any:
        """The client's own exceptions, which callers catch by name."""
        return self._client.exceptions

    def __getattr__(self, name: str) -> Callable[..., Any]:
        operation = getattr(self._client, name)

        def call(**request: Any) -> Any:
            with self._lock:
                self.calls += 1
                draw = self._random.random() if self.on else 1.0
            refused, unanswered, died = self._rates
            if draw < refused + unanswered + died:
                with self._lock:
                    self.failures += 1
            if draw < died:
                raise Died(name)
            if draw < died + refused:
                raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, name)
            answer = operation(**request)
            if draw < died + refused + unanswered:
                raise ConnectionClosedError(endpoint_url="https://dynamodb.invalid")
            return answer

        return call


class RepeatingClient:
    """A client whose every write of one item is carried out, not heard of, and sent again, as the SDK does."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._client, name)
        if name not in ("put_item", "update_item", "delete_item"):
            return operation

        def twice(**request: Any) -> Any:
            with suppress(self._client.exceptions.ConditionalCheckFailedException):
                operation(**request)
            return operation(**request)

        return twice


@contextmanager
def one_call_at_a_time() -> Iterator[None]:
    """Have moto's DynamoDB answer one call after the other, for as long as the block lasts.

    DynamoDB carries out one write to an item at a time; moto checks a condition and writes in two steps.
    """
    from moto.dynamodb.responses import DynamoHandler

    lock, handle = threading.RLock(), DynamoHandler.call_action

    def locked(self: DynamoHandler) -> object:
        with lock:
            return handle(self)

    DynamoHandler.call_action = locked
    try:
        yield
    finally:
        DynamoHandler.call_action = handle


def make_table(client: Any, name: str = "facts") -> None:
    """Make a table with the keys that template.yaml gives ours."""
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    )


@contextmanager
def emulated(*, table: str = "facts") -> Iterator[Any]:
    """A DynamoDB client of moto's, with a table, one call at a time."""
    import boto3
    from moto import mock_aws

    with one_call_at_a_time(), mock_aws():
        client = boto3.client(
            "dynamodb", region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none"
        )
        make_table(client, table)
        yield client
