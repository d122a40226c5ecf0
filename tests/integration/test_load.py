"""The load generator's own process against servers of this one, over real sockets."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from benchmarks import load
from benchmarks.load import ROOT, Target, closed_loop, main, open_loop, post
from benchmarks.load_client import MEASURED, PLAN
from benchmarks.load_files import Plan

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
"""What a server does with a request's body; it may close the writer."""

LIMIT_S = 60.0


def whole(body: bytes, status: bytes = b"200 OK", fields: bytes = b"") -> bytes:
    return b"HTTP/1.1 %s\r\n%scontent-length: %d\r\n\r\n%s" % (status, fields, len(body), body)


async def echo(body: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(whole(body))


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[Target]:
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
                await answer(await reader.readexactly(length), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writers.discard(writer)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        async with asyncio.timeout(LIMIT_S):
            yield Target(*server.sockets[0].getsockname())
    finally:
        server.close()
        for writer in tuple(writers):
            writer.close()


def requests(target: Target, *bodies: bytes) -> list[bytes]:
    return [post(target, "/", body) for body in bodies]


async def test_a_closed_loop_has_one_request_in_flight_for_each_client() -> None:
    inflight: list[int] = [0]

    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        inflight.append(inflight[-1] + 1)
        await asyncio.sleep(0)
        writer.write(whole(body))
        inflight.append(inflight[-1] - 1)

    async with serving(answer) as target:
        sent = requests(target, b"a", b"bc", b"")
        found = await asyncio.to_thread(closed_loop, target, sent, clients=4, seconds=0.3, warm_s=0.1)
    assert 1 < max(inflight) <= 4
    assert found.statuses == {200: len(found.status)}
    assert dict(found.bodies) == {0: b"a", 1: b"bc", 2: b""}
    assert found.seconds == 0.3
    assert found.rps == pytest.approx(len(found.status) / 0.3, abs=5 / 0.3)
    assert (found.done >= 0).all()
    assert (found.sent <= 0.3).all()
    assert (found.latency_ms > 0).all()
    assert np.array_equal(found.sent, found.intended)
    assert found.cpu_share > 0


async def test_an_open_loop_sends_every_request_in_turn_and_in_time() -> None:
    received: list[bytes] = []

    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        received.append(body)
        await echo(body, writer)

    times = np.linspace(0.0, 0.3, 31)
    async with serving(answer) as target:
        found = await asyncio.to_thread(open_loop, target, requests(target, b"a", b"b"), times, connections=1)
    assert (received.count(b"a"), received.count(b"b")) == (16, 15)
    assert found.index.tolist() == [i % 2 for i in range(31)]
    assert found.intended.tolist() == times.tolist()
    assert (found.lag_ms >= 0).all()
    assert (found.done >= found.sent).all()
    assert found.statuses == {200: 31}
    assert found.seconds == 0.3
    assert found.cpu_share > 0


async def test_an_open_loop_waits_for_no_answer_and_a_stall_is_in_every_latency() -> None:
    times = np.linspace(0.0, 0.4, 9)
    received: list[bytes] = []
    all_here = asyncio.Event()

    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        received.append(body)
        if len(received) == len(times):
            all_here.set()
        await all_here.wait()
        await echo(body, writer)

    async with serving(answer) as target:
        found = await asyncio.to_thread(open_loop, target, requests(target, b"x"), times, connections=1)
    assert found.statuses == {200: 9}
    assert (found.latency_ms >= (times[-1] - times) * 1000).all()


async def test_a_stall_is_in_the_latency_of_requests_that_found_no_connection() -> None:
    times = np.linspace(0.0, 0.4, 9)
    stall_s = 0.5
    over = asyncio.Event()

    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        asyncio.get_running_loop().call_later(stall_s, over.set)
        await over.wait()
        await echo(body, writer)

    async with serving(answer) as target:
        found = await asyncio.to_thread(
            open_loop, target, requests(target, b"x"), times, connections=1, most_connections=1
        )
    assert found.statuses == {200: 9}
    # Whatever was due in the stall ended after it; the server's clock counts milliseconds.
    assert (found.done >= stall_s - 0.002).all()
    assert (found.latency_ms == (found.done - times) * 1000).all()
    assert (found.sent[1:] >= found.done[0]).all()


async def test_refusals_are_counted_and_their_first_body_told() -> None:
    serial = count()

    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        late = next(serial) % 2
        writer.write(whole(b"late", b"429 Too Many Requests") if late else whole(body))

    async with serving(answer) as target:
        found = await asyncio.to_thread(open_loop, target, requests(target, b"x"), np.linspace(0, 0.1, 10))
    assert found.statuses == {200: 5, 429: 5}
    assert found.refused == {429: b"late"}
    assert found.quantile_ms(1.0) < np.inf


async def test_answers_may_come_in_pieces_and_in_chunks() -> None:
    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
        for piece in (chunks[:10], chunks[10:50], chunks[50:]):
            writer.write(piece)
            await writer.drain()

    async with serving(answer) as target:
        found = await asyncio.to_thread(open_loop, target, requests(target, b"x"), np.linspace(0, 0.1, 10))
    assert found.statuses == {200: 10}
    assert found.bodies[0] == (0, b"hello")


async def test_large_bodies_pass_both_ways() -> None:
    body = np.random.default_rng(0).bytes(3_000_000)
    async with serving(echo) as target:
        found = await asyncio.to_thread(open_loop, target, requests(target, body), np.zeros(3))
    assert found.statuses == {200: 3}
    assert found.bodies == ((0, body),)
    assert found.rps == 0.0


@pytest.mark.parametrize("announced", [True, False])
async def test_a_server_that_closes_after_each_answer_gets_new_connections(announced: bool) -> None:
    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(whole(body, fields=b"Connection: close\r\n") if announced else b"HTTP/1.0 200 OK\r\n\r\n" + body)
        writer.close()

    async with serving(answer) as target:
        given = requests(target, b"x")
        opened = await asyncio.to_thread(open_loop, target, given, np.linspace(0, 0.2, 10), connections=2)
        closed = await asyncio.to_thread(closed_loop, target, given, clients=2, seconds=0.2, warm_s=0.0)
    assert opened.statuses == {200: 10}
    assert closed.statuses == {200: len(closed.status)}
    assert len(closed.status) > 2
    assert closed.bodies[0] == (0, b"x")


async def test_a_request_that_a_server_hangs_up_on_has_no_answer() -> None:
    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        if body == b"x":
            writer.close()
        else:
            await echo(body, writer)

    async with serving(answer) as target:
        found = await asyncio.to_thread(open_loop, target, requests(target, b"x", b"y"), np.linspace(0, 0.2, 10))
    assert found.statuses == {0: 5, 200: 5}
    assert (found.latency_ms == np.inf).tolist() == [True, False] * 5


async def test_what_is_never_answered_is_given_up() -> None:
    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        if body == b"y":
            await echo(body, writer)

    async with serving(answer) as target:
        given = requests(target, b"x", b"y")
        opened = await asyncio.to_thread(open_loop, target, given, np.linspace(0, 0.1, 6), timeout_s=0.3)
        closed = await asyncio.to_thread(
            closed_loop, target, given[:1], clients=2, seconds=0.2, warm_s=0.0, timeout_s=0.8
        )
    assert opened.statuses == {0: 3, 200: 3}
    waited = (opened.done - opened.intended)[opened.status == 0]
    assert (waited >= 0.3).all()
    assert closed.statuses == {0: 2}


async def test_a_target_that_nobody_listens_at_is_told() -> None:
    async with serving(echo) as target:
        pass
    with pytest.raises(RuntimeError, match="cannot be reached"):
        await asyncio.to_thread(open_loop, target, requests(target, b"x"), np.zeros(1))


async def test_a_load_generator_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        del body, writer

    monkeypatch.setattr(load, "GRACE_S", -29.0)
    async with serving(answer) as target:
        with pytest.raises(RuntimeError, match="did not end"):
            await asyncio.to_thread(open_loop, target, requests(target, b"x"), np.zeros(1))


async def test_a_fault_of_its_own_ends_the_load_generator(tmp_path: Path) -> None:
    broken = (
        "import sys; from pathlib import Path; from benchmarks import load_client, load_loops\n"
        "load_loops.Record.answered = None\n"
        "load_client.main(Path(sys.argv[1]))"
    )
    async with serving(echo) as target:
        plan = Plan(
            host=target.host,
            port=target.port,
            requests=requests(target, b"x"),
            timeout_s=LIMIT_S,
            connections=1,
            most_connections=1,
            times=np.zeros(1),
            seconds=0.0,
            warm_s=0.0,
        )
        plan.write(tmp_path / PLAN)
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-c", broken, str(tmp_path), cwd=ROOT, stderr=asyncio.subprocess.PIPE
        )
        _, said = await client.communicate()
    assert client.returncode == 1
    assert b"TypeError" in said
    assert not (tmp_path / MEASURED).exists()


async def test_the_command_prints_what_it_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = tmp_path / "body"
    body.write_bytes(b"hello")
    async with serving(echo) as target:
        asked = ["--url", f"http://{target.host}:{target.port}/x", "--body", str(body), "--seconds", "0.5"]
        assert await asyncio.to_thread(main, [*asked, "--rate", "100"]) == 0
    row = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"][0]
    assert row["requests"] > 0
    assert (row["unanswered"], row["refused"]) == (0, 0)
    assert 0 < row["p50_ms"] <= row["p99.9_ms"]
