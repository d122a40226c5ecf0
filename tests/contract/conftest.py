"""AWS as moto plays it, for the contracts that hold over it too."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from moto import mock_aws
from moto.dynamodb.responses import DynamoHandler


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    # DynamoDB carries out one write to an item at a time; moto checks a condition and writes in two steps.
    one_at_a_time, handle = threading.RLock(), DynamoHandler.call_action

    def locked(self: DynamoHandler) -> object:
        with one_at_a_time:
            return handle(self)

    monkeypatch.setattr(DynamoHandler, "call_action", locked)
    with mock_aws():
        yield
