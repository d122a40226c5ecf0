"""gRPC's health service without a connection: messages as the protocol has them, and what a watcher is told."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.container.grpc_health import (
    NOT_SERVING,
    SERVICE_UNKNOWN,
    SERVING,
    HealthCheckRequest,
    HealthCheckResponse,
    watched,
)
from runtime.errors import UnknownModel, Unreadable


class Told:
    """A plane that says of a model each of these in turn, and is about to stop at the last."""

    def __init__(self, *answers: bool | Exception) -> None:
        self._answers = list(answers)
        self.ready = True

    @property
    def draining(self) -> bool:
        return len(self._answers) <= 1

    async def model_ready(self, model: str, version: str | None) -> bool:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_messages_are_the_protocol_s() -> None:
    assert HealthCheckRequest.FromString(b"\n\x02mm").service == "mm"
    assert HealthCheckRequest.FromString(b"").service == ""
    assert HealthCheckResponse(status=SERVING).SerializeToString() == b"\x08\x01"


async def test_only_changes_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.container.grpc_health.LOOK_S", 0)
    plane: Any = Told(UnknownModel("m"), False, False, True, True, Unreadable("locked"), True)
    told = [status async for status in watched(plane, "m")]
    assert told == [SERVICE_UNKNOWN, NOT_SERVING, SERVING, NOT_SERVING, SERVING]


async def test_a_server_that_stops_while_its_status_is_sent_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.container.grpc_health.LOOK_S", 0)
    plane: Any = Told(True, True)
    watch = watched(plane, "m")
    assert await anext(watch) == SERVING
    plane.ready = False
    assert [status async for status in watch] == [NOT_SERVING]
