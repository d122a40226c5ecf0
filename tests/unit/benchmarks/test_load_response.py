from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load_response import MOST_HEAD, Malformed, Response

PLAIN = b"HTTP/1.1 200 OK\r\nDate: now\r\ncontent-LENGTH:  5\r\nX-Content-Length: 9\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\nContent-Length: 3\r\n\r\n"
    b"4;name=value\r\nhe\r\n\r\n0A \r\nllo, there\r\n0\r\nTrailer: x\r\n\r\n"
)
EMPTY_CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + PLAIN
REFUSED = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 4\r\nConnection: Close\r\n\r\nlate"
BARE = b"HTTP/1.1 204 No Content\r\n\r\n"
OLD = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"
OLD_KEPT = b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok"
Case = tuple[bytes, int, bytes, bool]
"""A response, and what it says: status, body, whether the connection lasts."""

CASES: list[Case] = [
    (PLAIN, 200, b"hello", True),
    (CHUNKED, 200, b"he\r\nllo, there", True),
    (EMPTY_CHUNKED, 200, b"", True),
    (INTERIM, 200, b"hello", True),
    (REFUSED, 429, b"late", False),
    (BARE, 204, b"", True),
    (OLD, 200, b"ok", False),
    (OLD_KEPT, 200, b"ok", True),
]


def pieces(text: bytes, cuts: Sequence[int]) -> list[bytes]:
    stops = sorted({cut % (len(text) + 1) for cut in cuts} | {len(text)})
    return [text[start:stop] for start, stop in zip([0, *stops], stops, strict=False) if stop > start]


def read(response: Response, text: bytes, cuts: Sequence[int] = ()) -> tuple[int, bytes, bool]:
    """What a response that comes in pieces says; it must be whole at the last of them and not before."""
    response.begin()
    parts = pieces(text, cuts)
    assert [response.feed(part) for part in parts] == [False] * (len(parts) - 1) + [True]
    return response.status, response.body(), response.keep


@given(st.lists(st.tuples(st.sampled_from(CASES), st.lists(st.integers(0, 10_000), max_size=5)), max_size=6))
def test_responses_read_alike_however_they_are_cut(
    exchanges: list[tuple[Case, list[int]]],
) -> None:
    response = Response()
    for (text, *said), cuts in exchanges:
        assert read(response, text, cuts) == tuple(said)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0][:30])
def test_a_response_may_come_byte_by_byte(case: Case) -> None:
    text, *said = case
    assert read(Response(), text, range(len(text))) == tuple(said)


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    response = Response()
    assert not response.feed(b"HTTP/1.1 200 OK\r\n\r\nhel")
    assert not response.feed(b"lo")
    assert response.ended()
    assert (response.status, response.body(), response.keep) == (200, b"hello", False)


def test_an_unknown_coding_ends_with_the_connection() -> None:
    response = Response()
    assert not response.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok")
    assert response.ended()


@pytest.mark.parametrize("text", [PLAIN[:-1], PLAIN[:20], CHUNKED[:-1], b""])
def test_the_connection_ends_no_response_that_has_a_length(text: bytes) -> None:
    response = Response()
    assert not response.feed(text)
    assert not response.ended()


@pytest.mark.parametrize("text", [PLAIN, CHUNKED, BARE])
def test_what_was_not_asked_for_spoils_the_connection(text: bytes) -> None:
    response = Response()
    assert response.feed(text + b"HTTP/1.1 200 OK\r\n")
    assert not response.keep
    assert read(response, PLAIN) == (200, b"hello", True)


@pytest.mark.parametrize(
    "text",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1e3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 19 + b"\r\n\r\n",
        b"x" * (MOST_HEAD + 1),
        EMPTY_CHUNKED.replace(b"0\r\n\r\n", b"0x1\r\na\r\n"),
        EMPTY_CHUNKED.replace(b"0\r\n\r\n", b"\r\n\r\n"),
        EMPTY_CHUNKED.replace(b"0\r\n\r\n", b"f" * 16 + b"\r\n"),
        EMPTY_CHUNKED.replace(b"0\r\n\r\n", b"1\r\nabc"),
        EMPTY_CHUNKED.replace(b"0\r\n\r\n", b"1" * (MOST_HEAD + 1)),
    ],
    ids=lambda text: text[:60],
)
def test_what_is_no_http_is_refused(text: bytes) -> None:
    with pytest.raises(Malformed):
        Response().feed(text)
