"""What is asked for in vain is sent on once an hour, and before the environment may be frozen."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from functions.aws.optimizing import asked_of
from functions.aws.wishing import Wishing
from gateway.decisions import Record
from gateway.service import Service
from registry.errors import Unavailable
from registry.generations import Asked, Generating, Generation, GenerationState
from registry.model import Recipe
from scheduler.requests import Request

IN_VAIN = {"latency_ms": 1, "on_infeasible": "strict"}
PREDICT = "/v1/tasks/sum/predict"
MADE = Generation(
    "g", "sum", "int8", Recipe("int8", "fine"), "int8", "b", GenerationState.RUNNING, "2026-01-01T00:00:00+00:00"
)


class Claims:
    """Claims in memory."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}

    def claim(self, name: str, now: float, every_s: float) -> bool:
        if now < self.at.get(name, float("-inf")) + every_s:
            return False
        self.at[name] = now
        return True

    def release(self, name: str) -> None:
        self.at.pop(name, None)


class Generations:
    """What is being made, for whatever is asked."""

    def __init__(self) -> None:
        self.made: Generation | None = None

    def said(self, asked: Asked) -> Generation | None:
        return self.made


class Caller:
    """The API whose vain questions are sent on, as often as it is asked in how many environments."""

    def __init__(self, api: Any) -> None:
        self.api, self.sent, self.claims, self.now = api, [], Claims(), 1000.0
        self.generations = Generations()
        self.wishing = self.environment()
        api.service.generate_with(self._observe, self._generating)

    def _observe(self, record: Record) -> None:
        self.wishing.observe(record)

    def _generating(self, request: Request) -> Generating | None:
        return self.wishing.generating(request)

    def environment(self, send: Any = None) -> Wishing:
        service: Service = self.api.service
        send = send or self.sent.append
        return Wishing(service, self.claims, send, self.generations, wall=lambda: self.now)  # type: ignore[arg-type]

    async def ask(self, **slo: Any) -> int:
        status, self.answer = await self.api("POST", PREDICT, {"inputs": [[1.0, 2.0]], "slo": slo})
        await self.wishing.settle()
        return int(status)


@pytest.fixture
def caller(api: Any) -> Caller:
    return Caller(api)


async def test_a_question_is_sent_on_with_what_is_expected(caller: Caller) -> None:
    assert await caller.ask(**IN_VAIN) == 422

    (asked,) = map(asked_of, caller.sent)
    assert (asked.task, asked.rows, asked.slo.latency_ms) == ("sum", 1, 1.0)
    assert {placement.split("@")[0] for placement, _ in asked.expected_ms} == {"sum/fine", "sum/rough"}


async def test_what_is_held_is_none(caller: Caller) -> None:
    assert await caller.ask(latency_ms=5000) == 200
    assert caller.sent == []


async def test_a_question_goes_on_once_an_hour_whoever_hears_it(caller: Caller) -> None:
    for _ in range(3):
        await caller.ask(**IN_VAIN)
    caller.wishing = caller.environment()
    await caller.ask(**IN_VAIN)
    assert len(caller.sent) == 1
    caller.now += 3600
    caller.wishing = caller.environment()
    await caller.ask(**IN_VAIN)
    assert len(caller.sent) == 2


async def test_who_asks_again_is_told_what_is_made(caller: Caller) -> None:
    """Also where another environment handed the question on, and not for longer than it is being made."""
    await caller.ask(**IN_VAIN)
    caller.wishing = caller.environment()
    caller.generations.made = MADE
    await caller.ask(**IN_VAIN)
    assert "generating" not in caller.answer["error"]
    await caller.ask(**IN_VAIN)
    assert caller.answer["error"]["generating"]["generation"] == MADE.id
    caller.generations.made = None
    caller.wishing._wishes._looked.clear()  # as after a minute, or a release
    await caller.ask(**IN_VAIN)
    await caller.ask(**IN_VAIN)
    assert "generating" not in caller.answer["error"]


async def test_one_that_could_not_be_sent_is_sent_by_the_next(caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
    def full(_: str) -> None:
        raise Unavailable("queue", "throttled")

    caller.wishing = caller.environment(full)
    assert await caller.ask(**IN_VAIN) == 422
    assert "cannot be handed on" in caplog.text
    caller.wishing = caller.environment()
    await caller.ask(**IN_VAIN)
    assert len(caller.sent) == 1


async def test_no_answer_waits_for_long(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.aws.wishing.WAIT_S", 0.01)
    go_on = threading.Event()
    caller.wishing = caller.environment(lambda _: go_on.wait(30))
    caller.wishing._thread = ThreadPoolExecutor(1)
    try:
        async with asyncio.timeout(20):
            assert await caller.ask(**IN_VAIN) == 422
    finally:
        go_on.set()
        caller.wishing._thread.shutdown()
