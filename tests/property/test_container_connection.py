"""A connection reads what was sent, whatever the pieces it comes in."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from runtime.container.connection import Connection, Limits
from runtime.container.exchange import Exchange


class Sink:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.sent = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def chunked(body: bytes, sizes: list[int]) -> bytes:
    parts, at = [], 0
    for size in [*sizes, len(body)]:
        piece = body[at : at + size]
        if piece:
            parts.append(b"%x\r\n%b\r\n" % (len(piece), piece))
        at += size
    return b"".join(parts) + b"0\r\n\r\n"


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A request's bytes, and its body."""
    body = draw(st.binary(max_size=40))
    if draw(st.booleans()):
        return b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body), body
    sizes = draw(st.lists(st.integers(1, 9), max_size=4))
    return b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + chunked(body, sizes), body


def connected(asked: list[Exchange]) -> tuple[Connection, Sink]:
    connection = Connection(asked.append, Limits(), opened=lambda _: None, closed=lambda _: None)
    sink = Sink()
    connection.connection_made(sink)  # type: ignore[arg-type]
    return connection, sink


def feed(connection: Connection, data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        if start < end:
            connection.data_received(data[start:end])


@given(st.lists(requests(), min_size=1, max_size=4), st.lists(st.integers(0, 10_000), max_size=12))
def test_requests_are_the_same_however_they_are_cut(sent: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    asked: list[Exchange] = []
    connection, _ = connected(asked)
    feed(connection, b"".join(data for data, _ in sent), cuts)
    assert [bytes(exchange.body) for exchange in asked] == [body for _, body in sent]


@given(st.permutations(range(5)))
def test_answers_go_out_in_the_order_of_the_requests(order: list[int]) -> None:
    asked: list[Exchange] = []
    connection, sink = connected(asked)
    connection.data_received(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n" * 5)
    for i in order:
        asked[i].answer(200, b"<%d>" % i)
    assert [int(part[:1]) for part in sink.sent.split(b"<")[1:]] == [0, 1, 2, 3, 4]


@given(st.binary(max_size=200), st.lists(st.integers(0, 10_000), max_size=5))
def test_junk_is_refused_or_waited_for_and_never_answered_as_a_request(junk: bytes, cuts: list[int]) -> None:
    asked: list[Exchange] = []
    connection, sink = connected(asked)
    feed(connection, b"\x00" + junk, cuts)
    assert asked == []
    assert sink.sent.startswith(b"HTTP/1.1 400 ")
