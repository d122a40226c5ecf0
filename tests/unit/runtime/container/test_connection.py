"""Connections without a network: requests come in any pieces, answers go out in order, nothing is kept unbounded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runtime.container.connection import Connection, Intake, Limits
from runtime.container.exchange import BINARY, Exchange

LIMITS = Limits(head_bytes=300, body_bytes=20, pipelined=3)


class Peer:
    """The other end of a connection, and its transport."""

    def __init__(self, limits: Limits = LIMITS, *, handle: Any = None, intake: Intake | None = None) -> None:
        self.asked: list[Exchange] = []
        self.sent = b""
        self.closed = self.aborted = self.ended = False
        self.reading = True
        self.unsent = 0
        self.open: set[Connection] = set()
        self.connection = Connection(
            handle or self.asked.append, limits, opened=self.open.add, closed=self.open.discard, intake=intake
        )
        self.connection.connection_made(self)  # type: ignore[arg-type]

    # As a transport

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.sent += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = self.closed = True

    def write_eof(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    # As a peer

    def send(self, data: bytes) -> Peer:
        self.connection.data_received(data)
        return self

    def take(self) -> bytes:
        sent, self.sent = self.sent, b""
        return sent

    def refusal(self) -> tuple[int, str]:
        head, _, body = self.take().partition(b"\r\n\r\n")
        assert b"connection: close" in head
        return int(head.split()[1]), json.loads(body)["error"]


def post(path: bytes = b"/a", body: bytes = b"hello", *headers: bytes) -> bytes:
    lines = [b"POST %b HTTP/1.1" % path, b"host: x", b"content-length: %d" % len(body), *headers, b"", body]
    return b"\r\n".join(lines)


def test_a_request_and_its_answer() -> None:
    peer = Peer().send(post(b"/a?b=c", b"hello", b"X-Thing: one"))
    (exchange,) = peer.asked
    assert (exchange.method, exchange.path, exchange.body) == (b"POST", b"/a?b=c", b"hello")
    assert exchange.headers[b"x-thing"] == b"one"

    exchange.answer(200, b"{}")

    assert peer.take() == b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    assert not peer.closed


def test_other_statuses_types_and_headers() -> None:
    peer = Peer().send(post())
    peer.asked[0].answer(429, b"x", BINARY, [(b"retry-after", b"3")])
    assert peer.take() == (
        b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/octet-stream\r\ncontent-length: 1\r\n"
        b"retry-after: 3\r\n\r\nx"
    )


def test_bytes_one_by_one() -> None:
    peer = Peer()
    for byte in post() * 2:
        peer.send(bytes([byte]))
    assert [bytes(exchange.body) for exchange in peer.asked] == [b"hello", b"hello"]


def test_a_chunked_body() -> None:
    peer = Peer().send(b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n")
    assert peer.asked == []
    peer.send(b"0\r\nx-amzn-late: 1\r\n\r\n")
    assert peer.asked[0].body == b"hello"
    assert b"x-amzn-late" not in peer.asked[0].headers


def test_pipelined_requests_are_answered_in_order() -> None:
    peer = Peer().send(post(b"/1") + post(b"/2") + post(b"/3"))
    first, second, third = peer.asked

    third.answer(200, b"3")
    second.answer(200, b"2")
    assert peer.take() == b""
    first.answer(200, b"1")

    assert [part[-1:] for part in peer.take().split(b"HTTP/1.1 200 OK")[1:]] == [b"1", b"2", b"3"]


def test_a_peer_with_many_requests_under_way_is_not_read() -> None:
    peer = Peer().send(post() * 3)
    assert not peer.reading
    peer.asked[0].answer(200, b"")
    assert peer.reading


def test_what_is_pipelined_beyond_the_limit_waits_in_order() -> None:
    peer = Peer().send(b"".join(post(b"/%d" % i) for i in range(7)))
    assert [exchange.path for exchange in peer.asked] == [b"/0", b"/1", b"/2"]
    assert not peer.reading
    for i in range(7):
        peer.asked[i].answer(200, b"<%d>" % i)
        assert len(peer.asked) == min(7, i + 4)
    assert [int(part[:1]) for part in peer.take().split(b"<")[1:]] == list(range(7))
    assert peer.reading


def test_what_is_answered_at_once_waits_for_a_peer_that_does_not_read() -> None:
    asked: list[bytes] = []

    def handle(exchange: Exchange) -> None:
        asked.append(exchange.path)
        if exchange.path == b"/2":
            peer.connection.pause_writing()
        exchange.answer(200, exchange.path)

    peer = Peer(handle=handle)
    peer.send(b"".join(post(b"/%d" % i) for i in range(9)))
    assert asked == [b"/0", b"/1", b"/2"]
    assert not peer.reading
    peer.connection.resume_writing()
    assert len(asked) == 9
    assert peer.reading
    assert peer.take().count(b"200 OK") == 9


def test_a_refusal_comes_after_what_waits_before_it() -> None:
    peer = Peer().send(post() * 4 + post(b"/b", b"x" * 21))
    for i in range(4):
        assert peer.sent.count(b"200 OK") == i
        assert not peer.ended
        peer.asked[i].answer(200, b"1")
    sent = peer.take()
    assert sent.rindex(b"200 OK") < sent.index(b"413 ")
    assert peer.ended


def test_who_leaves_takes_along_what_was_not_begun() -> None:
    peer = Peer().send(post() * 5)
    peer.connection.connection_lost(None)
    for exchange in list(peer.asked):
        exchange.answer(200, b"too late")
    assert len(peer.asked) == 3


def test_a_peer_that_does_not_read_is_not_read_and_left_when_it_goes_on() -> None:
    peer = Peer()
    peer.unsent = 1000
    peer.connection.pause_writing()
    assert not peer.reading
    peer.connection.sweep(1.0)
    peer.connection.sweep(60.0)
    assert not peer.aborted
    peer.connection.sweep(61.0)
    assert peer.aborted


def test_a_peer_that_reads_slowly_is_given_the_time() -> None:
    peer = Peer()
    for now in range(1, 1000, 50):
        peer.unsent = 1_000_000 - now
        peer.connection.sweep(float(now))
        peer.connection.sweep(now + 1.0)
    assert not peer.aborted


def test_a_peer_that_never_reads_its_last_answer_is_left() -> None:
    peer = Peer().send(post(b"/a", b"hello", b"connection: close"))
    peer.asked[0].answer(200, b"x")
    assert peer.closed
    peer.unsent = 10
    peer.connection.sweep(1.0)
    peer.connection.sweep(61.0)
    assert peer.aborted


def test_what_was_answered_before_a_refusal_may_be_read_in_peace() -> None:
    peer = Peer().send(post() + post(b"/a", b"x" * 21))
    peer.asked[0].answer(200, b"long")
    for now in (1.0, 10.0, 20.0):
        peer.unsent = 1000 - int(now)
        peer.connection.sweep(now)
        assert not peer.aborted
    peer.unsent = 0
    peer.connection.sweep(21.0)
    assert peer.aborted


def test_who_is_not_read_is_not_blamed_for_what_does_not_come() -> None:
    peer = Peer().send(post() * 3 + post()[:-1])
    peer.connection.sweep(1.0)
    peer.connection.sweep(100.0)
    assert peer.sent == b""
    for exchange in peer.asked:
        exchange.answer(200, b"")
    peer.send(post()[-1:])
    assert len(peer.asked) == 4


def test_a_peer_that_reads_again_is_read_again() -> None:
    peer = Peer()
    peer.connection.pause_writing()
    peer.connection.resume_writing()
    assert peer.reading


def test_head_is_answered_without_a_body() -> None:
    peer = Peer().send(b"HEAD /a HTTP/1.1\r\nhost: x\r\n\r\n")
    peer.asked[0].answer(200, b"four")
    assert peer.take().endswith(b"content-length: 4\r\n\r\n")


def test_expecting_to_continue() -> None:
    request = post(b"/a", b"hello", b"Expect: 100-continue")
    peer = Peer().send(request[:-5])
    assert peer.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    peer.send(request[-5:])
    assert peer.asked[0].body == b"hello"


def test_continuing_waits_for_the_answers_before() -> None:
    peer = Peer().send(post() + post(b"/b", b"hello", b"expect: 100-continue")[:-5])
    assert peer.take() == b""
    peer.asked[0].answer(200, b"1")
    assert peer.take().endswith(b"1HTTP/1.1 100 Continue\r\n\r\n")


def test_who_asks_for_it_is_left_after_the_answer() -> None:
    peer = Peer().send(post(b"/a", b"hello", b"Connection: close") + post(b"/never"))
    assert [exchange.path for exchange in peer.asked] == [b"/a"]
    peer.asked[0].answer(200, b"")
    assert b"connection: close" in peer.take()
    assert peer.closed


@pytest.mark.parametrize(("header", "kept"), [(b"", False), (b"Connection: keep-alive\r\n", True)])
def test_http_1_0_goes_on_only_if_it_says_so(header: bytes, kept: bool) -> None:
    peer = Peer().send(b"GET /a HTTP/1.0\r\n" + header + b"\r\n")
    peer.asked[0].answer(200, b"x")
    assert (b"connection: keep-alive" in peer.take()) == kept
    assert peer.closed != kept


def test_another_protocol_on_offer_is_passed_over() -> None:
    offer = b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n\r\n"
    peer = Peer().send(offer + post(b"/b"))
    assert [exchange.path for exchange in peer.asked] == [b"/a", b"/b"]


def test_any_number_of_offers_is_passed_over() -> None:
    offer = b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"
    peer = Peer(handle=lambda exchange: exchange.answer(200, b"")).send(offer * 3000)
    assert peer.take().count(b"200 OK") == 3000


def test_a_body_that_is_announced_too_large_is_refused_before_it_comes() -> None:
    peer = Peer().send(post(b"/a", b"x" * 21)[:-21])
    assert peer.asked == []
    status, message = peer.refusal()
    assert (status, message[:37]) == (413, "the body is larger than 20 bytes; sen")
    assert peer.ended
    assert not peer.closed


def test_http_1_1_says_whom_it_asks() -> None:
    peer = Peer().send(b"GET /a HTTP/1.1\r\n\r\n" + post())
    assert peer.refusal() == (400, "an HTTP/1.1 request says in its header Host whom it asks")
    assert peer.asked == []


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        (b"http://there:8080/v2?a=b", b"/v2?a=b", b"there:8080"),
        (b"HTTPS://there/v2", b"/v2", b"there"),
        (b"http://there", b"/", b"there"),
        (b"http://there?a=b/c", b"/?a=b/c", b"there"),
        (b"/http://there/", b"/http://there/", b"x"),
        (b"*", b"*", b"x"),
    ],
)
def test_a_target_may_be_a_whole_url(target: bytes, path: bytes, host: bytes) -> None:
    peer = Peer().send(b"OPTIONS " + target + b" HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (peer.asked[0].path, peer.asked[0].headers[b"host"]) == (path, host)


@pytest.mark.parametrize("length", [b"9" * 30, b"21"])
def test_no_announcement_is_too_large_to_be_refused(length: bytes) -> None:
    peer = Peer().send(b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: " + length + b"\r\n\r\n")
    assert peer.refusal()[0] in (400, 413)


def test_a_body_that_becomes_too_large_is_refused() -> None:
    peer = Peer().send(
        b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + b"a\r\n0123456789\r\n" * 3
    )
    assert peer.refusal()[0] == 413
    assert peer.asked == []


def test_what_comes_after_a_refusal_is_thrown_away_for_a_moment() -> None:
    peer = Peer().send(post(b"/a", b"x" * 21))
    peer.take()
    peer.send(post() * 10)
    assert (peer.asked, peer.sent) == ([], b"")
    peer.connection.sweep(1.0)
    peer.connection.sweep(2.5)
    assert not peer.aborted
    peer.connection.sweep(3.0)
    assert peer.aborted


def test_a_refusal_comes_after_the_answers_before_it() -> None:
    peer = Peer().send(post() + post(b"/b", b"x" * 21))
    assert peer.take() == b""
    peer.asked[0].answer(200, b"1")
    sent = peer.take()
    assert sent.index(b"200 OK") < sent.index(b"413 ")


def test_a_head_without_end_is_refused() -> None:
    peer = Peer().send(b"GET /a HTTP/1.1\r\nx: " + b"y" * 150)
    assert peer.sent == b""
    peer.send(b"y" * 150)
    assert peer.refusal()[0] == 431


def test_bodies_under_way_on_all_connections_are_bounded_together() -> None:
    intake = Intake(12)
    first, second, third = (Peer(intake=intake) for _ in range(3))
    first.send(post())
    second.send(post()[:-1])
    assert intake.held == 9

    third.send(post()[:-5])
    assert b"\r\nretry-after: 1\r\n" in third.sent
    assert third.refusal() == (503, "more than 12 bytes of bodies are under way; try again")

    first.asked[0].answer(200, b"")
    assert intake.held == 4
    second.send(b"o" + post(b"/b", b"1234567"))
    assert (intake.held, len(second.asked)) == (12, 2)
    second.connection.connection_lost(None)
    second.asked[0].answer(200, b"too late")
    assert intake.held == 0


def test_a_body_in_chunks_that_becomes_too_much_beside_others_is_refused() -> None:
    intake = Intake(12)
    peer = Peer(intake=intake).send(CHUNKED + b"a\r\n0123456789\r\n")
    assert intake.held == 10
    peer.send(b"3\r\nabc\r\n")
    assert peer.refusal()[0] == 503
    assert intake.held == 0


def test_who_is_turned_away_reads_why() -> None:
    peer = Peer()
    peer.connection.turn_away()
    peer.connection.data_received(post())
    assert peer.refusal() == (503, "this server has as many connections as it takes; try again")
    assert (peer.asked, peer.ended) == ([], True)


CHUNKED = b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "begun",
    [b"0\r\nx: ", b"5\r\nhello\r\n0\r\nx: ", b"5;x=", b"5\r\nhello\r\n5;x="],
    ids=["trailers alone", "trailers", "extensions first", "extensions"],
)
def test_what_comes_with_a_body_and_is_no_part_of_it_has_an_end(begun: bytes) -> None:
    peer = Peer().send(CHUNKED + begun)
    peer.send(b"y" * 300)
    assert peer.sent == b""
    peer.send(b"y")
    assert peer.refusal() == (431, "trailers, or frames of chunks, are over 300 bytes")
    assert peer.asked == []


@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_a_body_may_come_in_the_smallest_of_chunks(piece: int) -> None:
    peer = Peer(Limits(head_bytes=300, body_bytes=1000))
    sent = CHUNKED + b"1\r\nx\r\n" * 1000 + b"0\r\nx-late: 1\r\n\r\n"
    for at in range(0, len(sent), piece):
        peer.send(sent[at : at + piece])
    assert peer.asked[0].body == b"x" * 1000


def test_the_bytes_of_a_request_are_not_counted_to_the_next_head() -> None:
    peer = Peer(Limits(head_bytes=300)).send(post(b"/a", b"x" * 1000) + b"GET /b HTTP/1.1\r\n")
    peer.send(b"host: x\r\n\r\n")
    assert [exchange.path for exchange in peer.asked] == [b"/a", b"/b"]


@pytest.mark.parametrize(
    "junk",
    [
        b"\x16\x03\x01\x00\xa5",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
    ],
)
def test_what_is_no_http_is_refused(junk: bytes) -> None:
    peer = Peer().send(junk)
    assert peer.refusal() == (400, "this is not an HTTP/1.1 request that can be understood")
    assert peer.asked == []


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"GET /a HTTP/1.1\r\nhost", "the request line and headers did not arrive within 60 s"),
        (post()[:-1], "the body did not arrive within 60 s"),
    ],
)
def test_what_stalls_is_refused_however_it_drips(sent: bytes, message: str) -> None:
    peer = Peer().send(sent[:-1])
    peer.connection.sweep(1.0)
    peer.send(sent[-1:])
    peer.connection.sweep(60.0)
    assert peer.sent == b""
    peer.connection.sweep(61.0)
    assert peer.refusal() == (408, message)


def test_who_says_nothing_is_left_without_a_word() -> None:
    peer = Peer()
    peer.connection.sweep(1.0)
    peer.connection.sweep(75.0)
    assert not peer.closed
    peer.connection.sweep(76.0)
    assert peer.closed
    assert peer.sent == b""


def test_who_waits_for_an_answer_is_not_idle() -> None:
    peer = Peer().send(post())
    for now in (1.0, 100.0, 1000.0):
        peer.connection.sweep(now)
    assert not peer.closed


def test_who_leaves_takes_what_waits_along() -> None:
    peer = Peer().send(post() * 3)
    gone: list[int] = []
    for i, exchange in enumerate(peer.asked):
        exchange.cancel = lambda i=i: gone.append(i)  # type: ignore[misc]
    peer.asked[1].answer(200, b"")

    peer.connection.connection_lost(None)

    assert gone == [0, 2]
    assert peer.open == set()
    peer.asked[0].answer(200, b"too late")
    assert peer.sent == b""


def test_draining_closes_who_is_idle_and_answers_who_waits() -> None:
    idle, busy = Peer(), Peer().send(post())
    for peer in (idle, busy):
        peer.connection.drain()
    assert idle.closed
    assert not busy.closed

    busy.asked[0].answer(200, b"x")

    assert b"connection: close" in busy.take()
    assert busy.closed


def test_draining_answers_all_that_came_and_says_at_the_last_that_it_closes() -> None:
    peer = Peer().send(post() * 5)
    peer.connection.drain()
    for i in range(5):
        assert not peer.closed
        peer.asked[i].answer(200, b"x")
    assert peer.closed
    answers = peer.take().split(b"HTTP/1.1 ")[1:]
    assert [b"connection: close" in answer for answer in answers] == [False] * 4 + [True]


def test_a_handler_may_answer_at_once() -> None:
    peer = Peer(handle=lambda exchange: exchange.answer(200, exchange.path)).send(post(b"/1") + post(b"/2"))
    assert peer.take().count(b"200 OK") == 2
