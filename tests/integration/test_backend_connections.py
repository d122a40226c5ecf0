"""Keep-alive connections against servers that answer well, late, badly or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from gateway.backends.connections import IDLE_S, ConnectionLost, Connections, Unreachable
from registry.errors import InvalidValue

OK = b"HTTP/1.1 200 OK\r\nX-Kind: good\r\ncontent-length: 4\r\n\r\nfine"
PATIENCE_S = 20.0

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def served(serve: Serve) -> AsyncIterator[Connections]:
    """Connections to a server that has `serve` talk to each of them."""
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await serve(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.create_task(talk(reader, writer)))

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with asyncio.timeout(PATIENCE_S):
        async with Connections(f"http://{host}:{port}/behind/") as connections:
            yield connections
        server.close()
        await asyncio.gather(*talks)


async def read(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """One request's head and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    return head, await reader.readexactly(length)


def answering(*answers: bytes, end: bool = False) -> tuple[Serve, list[tuple[int, bytes, bytes]]]:
    """A server that gives these answers in turn to whichever connection asks; what it was asked, by connection."""
    left, asked, opened = list(answers), [], 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        number = opened
        while left:
            asked.append((number, *await read(reader)))
            writer.write(left.pop(0))
            if end:
                break
        await writer.drain()

    return serve, asked


async def test_a_connection_is_used_again_and_requests_are_what_was_asked() -> None:
    serve, asked = answering(OK, OK)
    async with served(serve) as connections:
        first = await connections.exchange("POST", "/infer", [b"ab", memoryview(b"cd")], "x-extra: 1\r\n")
        second = await connections.exchange("GET", "/ready")
    assert (first.status, first.headers[b"x-kind"], first.body) == (200, b"good", b"fine")
    assert second == first
    assert [number for number, _, _ in asked] == [1, 1]
    assert asked[0][1].startswith(b"POST /behind/infer HTTP/1.1\r\nhost: 127.0.0.1:")
    assert b"\r\nx-extra: 1\r\n" in asked[0][1]
    assert [body for _, _, body in asked] == [b"abcd", b""]


async def test_exchanges_at_once_have_a_connection_each() -> None:
    both = asyncio.Barrier(2)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read(reader)
        await both.wait()  # neither is answered before the other was asked
        writer.write(OK)

    async with served(serve) as connections:
        answers = await asyncio.gather(connections.exchange("GET", "/a"), connections.exchange("GET", "/b"))
    assert [answer.body for answer in answers] == [b"fine", b"fine"]


async def test_an_answer_may_come_in_pieces() -> None:
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nfi\r\n2\r\nne\r\n0\r\n\r\n"
    serve, _ = answering(chunked)
    async with served(serve) as connections:
        assert (await connections.exchange("GET", "/")).body == b"fine"


async def test_a_connection_that_is_to_be_closed_is_not_used_again() -> None:
    serve, asked = answering(OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"), OK)
    async with served(serve) as connections:
        await connections.exchange("GET", "/")
        await connections.exchange("GET", "/")
    assert [number for number, _, _ in asked] == [1, 2]


async def test_a_connection_that_was_idle_for_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    serve, asked = answering(OK, OK)
    async with served(serve) as connections:
        monkeypatch.setattr(connections, "_clock", lambda: now)
        await connections.exchange("GET", "/")
        now = IDLE_S
        await connections.exchange("GET", "/")
    assert [number for number, _, _ in asked] == [1, 2]


@pytest.mark.parametrize(
    "answer", [b"", OK[:-1], b"HTTP/1.1 200 OK\r\ncontent-le", b"SSH-2.0-OpenSSH\r\n\r\n"], ids=repr
)
async def test_half_an_answer_is_a_lost_connection_and_the_next_exchange_has_another(answer: bytes) -> None:
    serve, _ = answering(answer, OK, end=True)
    async with served(serve) as connections:
        with pytest.raises(ConnectionLost):
            await connections.exchange("GET", "/")
        assert (await connections.exchange("GET", "/")).body == b"fine"


async def test_nobody_there_is_not_a_lost_answer() -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with Connections(f"http://127.0.0.1:{port}") as connections:
        with pytest.raises(Unreachable, match=f"127.0.0.1:{port} cannot be reached"):
            await connections.exchange("GET", "/")


async def test_a_caller_that_leaves_takes_the_connection_along() -> None:
    left = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read(reader)
        with suppress(ConnectionError):
            await reader.read(1)
        left.set()

    async with served(serve) as connections:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await connections.exchange("GET", "/")
        await left.wait()


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:80", "ftp://host", "http://", "http://host:99999", "http://host/?q=1", "http://hö.st", "://"]
)
def test_a_url_that_is_no_server_s_is_refused(url: str) -> None:
    with pytest.raises(InvalidValue, match="give one like"):
        Connections(url)
