"""An answer that ends its connection waits for the body, within bounds; any other does not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.http.lingering import Lingering

CLOSE = [(b"connection", b"close")]


async def asked(
    headers: list[tuple[bytes, bytes]], parts: list[bytes], *, version: str = "1.1", reads: int = 0, **options: Any
) -> list[str]:
    """What happened in which order, where the application reads so many parts and answers; parts that end never end."""
    happened: list[str] = []
    waiting = list(parts)

    async def receive() -> dict[str, Any]:
        if not waiting:
            await asyncio.Event().wait()
        part = waiting.pop(0)
        happened.append(f"read {len(part)}")
        return {"type": "http.request", "body": part, "more_body": part != b"end"}

    async def send(message: dict[str, Any]) -> None:
        happened.append(message["type"].rpartition(".")[2])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(reads):
            await receive()
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    scope = {"type": "http", "http_version": version, "headers": headers}
    await Lingering(app, most=10, **options)(scope, receive, send)  # type: ignore[arg-type]
    return happened


async def test_the_last_answer_of_a_connection_comes_after_the_body() -> None:
    assert await asked(CLOSE, [b"a", b"end"]) == ["read 1", "read 3", "start", "body"]
    assert await asked([], [b"a", b"end"], version="1.0") == ["read 1", "read 3", "start", "body"]


async def test_what_has_been_read_is_not_waited_for() -> None:
    assert await asked(CLOSE, [b"end"], reads=1) == ["read 3", "start", "body"]
    assert await asked(CLOSE, [b"a", b"end"], reads=1) == ["read 1", "read 3", "start", "body"]


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ([], "1.1"),
        ([(b"connection", b"keep-alive")], "1.0"),
        ([*CLOSE, (b"expect", b"100-continue")], "1.1"),
    ],
)
async def test_no_other_answer_waits(headers: list[tuple[bytes, bytes]], version: str) -> None:
    assert await asked(headers, [b"a", b"end"], version=version) == ["start", "body"]


async def test_a_body_without_end_is_read_no_further_than_the_limit() -> None:
    assert await asked(CLOSE, [b"aaaaa"] * 9) == [*["read 5"] * 3, "start", "body"]


async def test_a_body_that_stalls_is_not_waited_for_long() -> None:
    assert await asked(CLOSE, [b"a"], linger_s=0.01) == ["read 1", "start", "body"]
