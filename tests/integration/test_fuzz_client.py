"""The sender of hostile cases, against a server that misbehaves in every way that it must notice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from benchmarks import fuzz_client
from benchmarks.fuzz_client import CLOSED, Tally, send
from benchmarks.fuzz_corpus import Case


def answer(status: int, body: bytes = b"{}") -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body


@asynccontextmanager
async def misbehaving() -> AsyncIterator[int]:
    """The port of a server whose answer is named by the request's first bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while asked := await reader.read(100):
            if asked.startswith(b"never"):
                await reader.read()
            elif asked.startswith(b"end"):
                break
            else:
                writer.write(b"nonsense\r\n\r\n" if asked.startswith(b"odd") else answer(int(asked[:3])))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def tallied(*raw: bytes, whole: bool = True) -> Tally:
    tallies: dict[str, Tally] = {}
    async with misbehaving() as port:
        await send("127.0.0.1", port, [Case("o", text, 0.01, whole) for text in raw], tallies, 2)
    return tallies["o"]


async def test_statuses_are_counted_and_faults_kept() -> None:
    tally = await tallied(b"200", b"422", b"200", b"503", b"500")

    assert tally.statuses == {200: 2, 422: 1, 503: 1, 500: 1}
    assert sorted((status, case.raw, body) for status, case, body in tally.faults) == [
        (500, b"500", b"{}"),
        (503, b"503", b"{}"),
    ]
    assert len(tally.seconds) == 5
    assert not tally.hangs
    assert not tally.unanswered


async def test_an_answer_after_its_time_is_a_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_client, "GRACE_S", 0.05)
    tally = await tallied(b"never", b"200")

    assert [case.raw for case in tally.hangs] == [b"never"]
    assert tally.statuses == {200: 1}


async def test_a_server_that_is_gone_answers_nothing() -> None:
    async with misbehaving() as port:
        pass
    tallies: dict[str, Tally] = {}
    await send("127.0.0.1", port, [Case("o", b"200", 0.01)] * 3, tallies, 1)

    assert tallies["o"].statuses == {CLOSED: 3}
    assert len(tallies["o"].unanswered) == 3


@pytest.mark.parametrize("raw", [b"end", b"odd"])
async def test_a_whole_request_that_gets_no_answer_is_told_from_one_that_was_none(raw: bytes) -> None:
    whole, part = await tallied(raw), await tallied(raw, whole=False)

    assert whole.statuses == part.statuses == {CLOSED: 1}
    assert [case.raw for case in whole.unanswered] == [raw]
    assert not part.unanswered
