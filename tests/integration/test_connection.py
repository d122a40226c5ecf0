"""Connections over real sockets: what comes before a request is bounded in bytes and in time."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from gateway.http.connection import Connection

HEAD = b"GET / HTTP/1.1\r\nHost: here\r\n"


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


@asynccontextmanager
async def talk(
    *, limit: int = 200, seconds: float = 30.0
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    class Tight(Connection):
        head_limit = limit
        head_s = seconds

    state = ServerState()
    config = uvicorn.Config(hello, log_level="error", lifespan="off")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Tight(config, state, {}), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        async with asyncio.timeout(10):
            yield reader, writer
    finally:
        writer.close()
        server.close()


def refusal(received: bytes) -> tuple[int, str]:
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    return int(head.split()[1]), json.loads(body)["error"]["code"]


async def test_requests_on_one_connection_are_each_within_the_limit() -> None:
    async with talk(seconds=0.05) as (reader, writer):
        for _ in range(3):
            writer.write(HEAD + b"a: " + b"x" * 100 + b"\r\n")
            writer.write(b"\r\n")
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")


async def test_a_connection_that_its_peer_resets_leaves_no_timer() -> None:
    made, lost = list[Connection](), asyncio.Event()

    class Noted(Connection):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            lost.set()

    def make() -> Connection:
        made.append(Noted(config, ServerState(), {}))
        return made[0]

    config = uvicorn.Config(hello, log_level="error", lifespan="off")
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(HEAD + b"\r\n")
    async with asyncio.timeout(10):
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
        assert made[0].timeout_keep_alive_task is not None
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()
        await lost.wait()
    server.close()
    assert made[0].timeout_keep_alive_task is None


async def test_a_head_without_end_is_refused() -> None:
    async with talk() as (reader, writer):
        writer.write(HEAD + b"a: " + b"x" * 300)
        assert refusal(await reader.read()) == (431, "too_large")


async def test_a_head_that_stalls_is_refused() -> None:
    async with talk(seconds=0.05) as (reader, writer):
        writer.write(HEAD)
        assert refusal(await reader.read()) == (408, "too_slow")


async def test_a_later_head_that_stalls_is_refused() -> None:
    async with talk(seconds=0.05) as (reader, writer):
        writer.write(HEAD + b"\r\n")
        await reader.readuntil(b"hello")
        writer.write(HEAD)
        assert refusal(await reader.read()) == (408, "too_slow")


async def test_a_connection_that_says_nothing_is_closed_without_a_word() -> None:
    async with talk(seconds=0.05) as (reader, _):
        assert await reader.read() == b""


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x00\xa5", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"])
async def test_what_is_no_http_is_refused_as_json(junk: bytes) -> None:
    async with talk() as (reader, writer):
        writer.write(junk)
        assert refusal(await reader.read()) == (400, "bad_request")
