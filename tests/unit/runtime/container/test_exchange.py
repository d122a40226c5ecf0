"""A request's answer is put into bytes once, and whoever works for a peer that has left is told once."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.container.exchange import Exchange


class Line:
    """Stands for the connection of an exchange."""

    def __init__(self) -> None:
        self.draining = False
        self.taken = 0
        self.flushed: list[Exchange] = []
        self.flush = self.flushed.append

    def take(self, size: int) -> None:
        self.taken += size

    def is_last(self, exchange: Exchange) -> bool:
        return True


class Span:
    """What was noted of a request, and how it ended."""

    def __init__(self) -> None:
        self.notes: dict[str, Any] = {}
        self.ends: list[bool] = []

    def note(self, **attributes: Any) -> None:
        self.notes |= attributes

    def end(self, *, failed: bool = False) -> None:
        self.ends.append(failed)


@pytest.fixture
def line() -> Any:
    return Line()


def test_an_answer_gives_the_body_back_and_is_sent_when_its_turn_comes(line: Any) -> None:
    exchange = Exchange(line)
    exchange.body = b"hello"
    assert not exchange.answered

    exchange.answer(200, b"{}")

    assert exchange.answered
    assert exchange.reply == b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    assert (line.taken, line.flushed) == (-5, [exchange])


def test_the_last_answer_of_a_connection_that_drains_says_so(line: Any) -> None:
    exchange, line.draining = Exchange(line), True

    exchange.answer(204, b"")

    assert exchange.reply == b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    assert not exchange.keep_alive


@pytest.mark.parametrize(("status", "failed"), [(200, False), (404, False), (503, True)])
def test_a_span_ends_with_the_answer(line: Any, status: int, failed: bool) -> None:
    exchange, span = Exchange(line), Span()
    exchange.span = span

    exchange.answer(status, b"")
    exchange.end_span(failed=True)

    assert (span.notes, span.ends) == ({"status": status}, [failed])


def test_what_is_abandoned_is_cancelled_and_ends_once(line: Any) -> None:
    exchange, span, cancelled = Exchange(line), Span(), []
    exchange.span, exchange.cancel = span, lambda: cancelled.append(True)

    exchange.abandon()
    exchange.abandon()

    assert cancelled == [True]
    assert (span.notes, span.ends) == ({"error.type": "Cancelled"}, [True])


def test_what_is_answered_is_not_cancelled_any_more(line: Any) -> None:
    exchange = Exchange(line)
    exchange.cancel = lambda: pytest.fail("it is cancelled")

    exchange.answer(200, b"")
    exchange.abandon()


@pytest.mark.parametrize(
    ("target", "path"), [(b"http://a:1/b?c=d", b"/b?c=d"), (b"HTTPS://a:1?c", b"/?c"), (b"http://a:1", b"/")]
)
def test_a_whole_url_says_the_host(line: Any, target: bytes, path: bytes) -> None:
    exchange = Exchange(line)
    exchange.path, exchange.headers = target, {b"host": b"other"}

    exchange.take_origin_form()

    assert (exchange.path, exchange.headers) == (path, {b"host": b"a:1"})
