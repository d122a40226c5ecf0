"""A table that takes connections and never answers: what a cold function's caller hears, and when."""

from __future__ import annotations

import importlib
import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from benchmarks.lambda_call import Context, http_event

TIER = "lambda-1769"


@dataclass
class Hanging:
    """A server of which nothing comes."""

    listener: socket.socket
    taken: list[socket.socket] = field(default_factory=list)

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.taken.append(connection)

    def end(self) -> None:
        with suppress(OSError):  # ended already
            self.listener.shutdown(socket.SHUT_RDWR)
        for each in (self.listener, *self.taken):
            each.close()


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    made = Hanging(socket.create_server(("127.0.0.1", 0)))
    port = made.listener.getsockname()[1]
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_DYNAMODB": f"http://127.0.0.1:{port}",
        "TABLE_NAME": "facts",
        "TENANT_CLAIM": "sub",
        "WARM_BUDGET_USD_PER_HOUR": "0",
        "WORKERS": json.dumps({TIER: "arn:aws:lambda:us-east-1:123456789012:function:w:live"}),
    }.items():
        monkeypatch.setenv(name, value)
    serving = threading.Thread(target=made.serve)
    serving.start()
    yield made
    made.end()
    serving.join(30)


@pytest.fixture
def api(hanging: Hanging, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The function, as a new environment imports it."""
    monkeypatch.delitem(sys.modules, "functions.api.app", raising=False)
    app = importlib.import_module("functions.api.app")
    # What is made once for a client is no part of what is waited for here.
    assert app.table.client is not None
    yield app
    hanging.end()
    app.watch._thread.shutdown()
    app.runner.close()
    sys.modules.pop("functions.api.app", None)


def test_a_strict_caller_hears_of_it_before_the_table_is_asked_again(api: Any, hanging: Hanging) -> None:
    slo = {"latency_ms": 50, "on_infeasible": "strict"}
    event = http_event("POST", "/v1/tasks/sum/predict", {"inputs": [[1.0, 2.0]], "slo": slo})

    answer = api.handler(event, Context())

    assert answer["statusCode"] == 503
    assert json.loads(answer["body"])["error"]["message"] == "the catalogue cannot be read now"
    assert len(hanging.taken) == 1  # its first try goes on
