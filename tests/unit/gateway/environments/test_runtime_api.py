from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.environments.runtime_api import PAYLOAD_LIMIT, Connection, Verdict

BASE = "/2018-06-01/runtime"


class Recorder:
    """A Host that writes down what it hears and answers with what it was told to."""

    def __init__(self, verdict: Verdict = Verdict.ACCEPTED) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self._verdict = verdict

    def on_next(self, connection: Connection) -> None:
        self.heard.append(("next",))

    def on_response(self, request_id: str, body: bytes | None) -> Verdict:
        self.heard.append(("response", request_id, body))
        return self._verdict

    def on_error(self, request_id: str, body: bytes, kind: str) -> Verdict:
        self.heard.append(("error", request_id, body, kind))
        return self._verdict

    def on_init_error(self, body: bytes, kind: str) -> Verdict:
        self.heard.append(("init error", body, kind))
        return self._verdict

    def on_restore_next(self, connection: Connection) -> None:
        self.heard.append(("restore next",))
        connection.send_restored()

    def on_restore_error(self, body: bytes, kind: str) -> Verdict:
        self.heard.append(("restore error", body, kind))
        return self._verdict


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed = True


def speak(*chunks: bytes, host: Recorder | None = None) -> tuple[Recorder, Wire]:
    host = host or Recorder()
    connection, wire = Connection(host), Wire()
    connection.connection_made(wire)
    for chunk in chunks:
        connection.data_received(chunk)
    return host, wire


def post(path: str, body: bytes, **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"POST {BASE}{path} HTTP/1.1\r\nHost: x\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


def chunked(path: str, *parts: bytes) -> bytes:
    body = b"".join(b"%x;note=1\r\n%b\r\n" % (len(part), part) for part in parts)
    head = f"POST {BASE}{path} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + body + b"0\r\nTrailer: x\r\n\r\n"


NEXT = f"GET {BASE}/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def test_next_is_answered_when_there_is_work() -> None:
    host = Recorder()
    connection, wire = Connection(host), Wire()
    connection.connection_made(wire)
    connection.data_received(NEXT)
    assert host.heard == [("next",)]
    assert wire.sent == b""
    connection.send_invocation("id-1", b'{"a":1}', deadline_ms=99, arn="arn:x", trace="Root=1")
    head, _, body = wire.sent.decode().partition("\r\n\r\n")
    assert head.split("\r\n") == [
        "HTTP/1.1 200 OK",
        "Content-Type: application/json",
        "Lambda-Runtime-Aws-Request-Id: id-1",
        "Lambda-Runtime-Deadline-Ms: 99",
        "Lambda-Runtime-Invoked-Function-Arn: arn:x",
        "Lambda-Runtime-Trace-Id: Root=1",
        "Content-Length: 7",
    ]
    assert body == '{"a":1}'


@pytest.mark.parametrize(
    ("path", "heard"),
    [
        ("/invocation/7/response", ("response", "7", b"{}")),
        ("/invocation/7/error", ("error", "7", b"{}", "Kind")),
        ("/init/error", ("init error", b"{}", "Kind")),
        ("/restore/error", ("restore error", b"{}", "Kind")),
    ],
)
def test_posts_reach_the_host_and_are_accepted(path: str, heard: tuple[Any, ...]) -> None:
    host, wire = speak(post(path, b"{}", Lambda_Runtime_Function_Error_Type="Kind"))
    assert host.heard == [heard]
    assert (
        wire.sent
        == b'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"status":"OK"}\n'
    )


def test_restore_next_is_answered() -> None:
    host, wire = speak(f"GET {BASE}/restore/next HTTP/1.1\r\n\r\n".encode())
    assert host.heard == [("restore next",)]
    assert wire.sent.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("verdict", [Verdict.INVALID_REQUEST_ID, Verdict.INVALID_TRANSITION, Verdict.TOO_LARGE])
def test_the_hosts_refusals_go_out_as_they_are(verdict: Verdict) -> None:
    _, wire = speak(post("/invocation/7/response", b"1"), host=Recorder(verdict))
    assert wire.sent == verdict.value


def test_a_wrong_request_id_is_refused_in_awss_words() -> None:
    assert b"400 Bad Request" in Verdict.INVALID_REQUEST_ID.value
    assert b'{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}' in Verdict.INVALID_REQUEST_ID.value
    assert b"403 Forbidden" in Verdict.INVALID_TRANSITION.value


@pytest.mark.parametrize(
    "line",
    [
        "GET /2018-06-01/runtime/invocation/7/response",
        "POST /2018-06-01/runtime/invocation/next",
        "GET /2015-03-31/functions/f/invocations",
        "POST /2018-06-01/runtime/init/next",
        "GET /2018-06-01/runtime/invocation/7/next",
    ],
)
def test_unknown_operations_are_not_found_and_the_connection_lives(line: str) -> None:
    host, wire = speak(f"{line} HTTP/1.1\r\n\r\n".encode(), NEXT)
    assert wire.sent.startswith(b"HTTP/1.1 404 ")
    assert host.heard == [("next",)]


@pytest.mark.parametrize(
    "junk", [b"hello\r\n\r\n", f"POST {BASE}/init/error HTTP/1.1\r\nContent-Length: -1\r\n\r\n".encode()]
)
def test_what_is_not_http_is_refused_and_hung_up(junk: bytes) -> None:
    host, wire = speak(junk, NEXT)
    assert wire.sent.startswith(b"HTTP/1.1 400 ")
    assert wire.closed
    assert host.heard == []


def test_a_chunk_size_that_is_no_number_is_refused() -> None:
    head = f"POST {BASE}/init/error HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    host, wire = speak(head, b"zz\r\n")
    assert wire.sent.startswith(b"HTTP/1.1 400 ")
    assert host.heard == []


def test_a_client_that_waits_for_100_continue_gets_it() -> None:
    whole = post("/invocation/7/response", b"{}", Expect="100-continue")
    host, wire = speak(whole[:-2], whole[-2:])
    assert wire.sent.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 ")
    assert host.heard == [("response", "7", b"{}")]


def test_a_response_at_the_limit_arrives_whole() -> None:
    body = bytes(PAYLOAD_LIMIT)
    host, _ = speak(post("/invocation/7/response", body))
    assert host.heard == [("response", "7", body)]


@pytest.mark.parametrize("make", [post, chunked])
def test_a_response_over_the_limit_is_read_to_its_end_and_thrown_away(make: Any) -> None:
    whole = make("/invocation/7/response", bytes(PAYLOAD_LIMIT + 1))
    pieces = [whole[at : at + 100_000] for at in range(0, len(whole), 100_000)]
    host, _ = speak(*pieces, NEXT)
    assert host.heard == [("response", "7", None), ("next",)]


def test_an_error_over_the_limit_is_refused() -> None:
    host, wire = speak(post("/invocation/7/error", bytes(PAYLOAD_LIMIT + 1)))
    assert host.heard == []
    assert wire.sent == Verdict.TOO_LARGE.value


@given(
    bodies=st.lists(st.binary(max_size=200), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 2000), max_size=12),
    in_chunks=st.booleans(),
)
def test_any_cut_of_the_stream_reads_the_same(bodies: list[bytes], cuts: list[int], in_chunks: bool) -> None:
    def one(number: int, body: bytes) -> bytes:
        path = f"/invocation/{number}/response"
        halves = [part for part in (body[:7], body[7:]) if part]
        return chunked(path, *halves) if in_chunks else post(path, body)

    stream = b"".join(one(number, body) + NEXT for number, body in enumerate(bodies))
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    host, _ = speak(*(stream[a:b] for a, b in itertools.pairwise(edges)))
    expected: list[tuple[Any, ...]] = []
    for number, body in enumerate(bodies):
        expected += [("response", str(number), body), ("next",)]
    assert host.heard == expected
