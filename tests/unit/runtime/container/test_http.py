"""Handlers and their faults: whatever happens is answered, once, and says no more than it should."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from runtime.container.exchange import Exchange
from runtime.container.http import Http
from runtime.container.router import Route
from runtime.errors import CrossSite, Expired, NoRoom, Refused


class Wire:
    """A connection that keeps what is answered."""

    draining = False

    def __init__(self) -> None:
        self.flushed: list[Exchange] = []

    def flush(self, exchange: Exchange) -> None:
        self.flushed.append(exchange)


def exchange(method: bytes = b"GET", path: bytes = b"/a") -> Exchange:
    made = Exchange(Wire())  # type: ignore[arg-type]
    made.method, made.path = method, path
    return made


def told(asked: Exchange) -> tuple[int, dict[bytes, bytes], Any]:
    head, _, body = (asked.reply or b"").partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    headers = dict(line.split(b": ", 1) for line in lines)
    return int(first.split()[1]), headers, json.loads(body) if body else None


def raising(fault: Exception, *, later: bool) -> Callable[[Exchange, Mapping[str, str]], object]:
    def now(asked: Exchange, names: Mapping[str, str]) -> None:
        raise fault

    async def soon(asked: Exchange, names: Mapping[str, str]) -> None:
        raise fault

    return soon if later else now


@pytest.mark.parametrize("later", [False, True])
async def test_faults_are_answered_as_the_table_says(later: bool) -> None:
    http = Http([Route("GET", "/a", raising(NoRoom("it does not fit"), later=later))])
    asked = exchange()
    http(asked)
    await http.close()
    status, _, body = told(asked)
    assert (status, body["error"]) == (507, "it does not fit")


@pytest.mark.parametrize("later", [False, True])
async def test_what_nobody_foresaw_is_logged_and_not_told(later: bool, caplog: pytest.LogCaptureFixture) -> None:
    http = Http([Route("GET", "/a", raising(KeyError("secret"), later=later))])
    asked = exchange()
    http(asked)
    await http.close()
    status, _, body = told(asked)
    assert status == 500
    assert "secret" not in body["error"]
    assert "secret" in caplog.text


@pytest.mark.parametrize(("fault", "logged"), [(Expired("it waited"), False), (NoRoom("it does not fit"), True)])
async def test_deadlines_that_pass_are_not_logged(
    fault: Exception, logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    Http([Route("GET", "/a", raising(fault, later=False))])(exchange())
    assert (str(fault) in caplog.text) is logged


async def test_when_to_try_again_is_a_header_and_in_the_body() -> None:
    http = Http([Route("GET", "/a", raising(Refused("busy", 1.25), later=False))])
    asked = exchange()
    http(asked)
    status, headers, body = told(asked)
    assert (status, headers[b"retry-after"], body["retry_after_s"]) == (429, b"2", 1.25)


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"), [(b"POST", b"/a", 405, b"GET"), (b"GET", b"/b", 404, None)]
)
def test_what_is_not_served(method: bytes, path: bytes, status: int, allow: bytes | None) -> None:
    asked = exchange(method, path)
    Http([Route("GET", "/a", raising(AssertionError(), later=False))])(asked)
    got, headers, _ = told(asked)
    assert (got, headers.get(b"allow")) == (status, allow)


def test_what_does_not_pass_the_check_is_not_handled() -> None:
    def check(headers: Mapping[bytes, bytes]) -> None:
        raise CrossSite(f"{headers[b'host'].decode()} is not ours")

    asked = exchange()
    asked.headers[b"host"] = b"evil"
    Http([Route("GET", "/a", raising(AssertionError(), later=False))], check=check)(asked)
    status, _, body = told(asked)
    assert (status, body["error"], body["type"]) == (403, "evil is not ours", "CrossSite")


async def test_a_fault_after_the_answer_changes_nothing() -> None:
    def answers_first(asked: Exchange, names: Mapping[str, str]) -> None:
        asked.answer(200, b"{}")
        raise NoRoom("too late")

    asked = exchange()
    Http([Route("GET", "/a", answers_first)])(asked)
    assert told(asked)[0] == 200
