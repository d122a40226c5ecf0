"""An answer fits into what Lambda carries, as its own runtime client writes it, or is refused before that is tried."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import pytest
from awslambdaric.lambda_runtime_marshaller import LambdaMarshaller
from hypothesis import example, given
from hypothesis import strategies as st

from functions.aws.replies import BODY_LIMIT, REPLY_LIMIT, as_text, fitted
from runtime.codecs.text import dumps

NASTY = ('"', "\\", "\x00", "\u2028", "é", "😀", "a")
HEADERS = {"Content-Type": "application/json", "x-decision-id": "d" * 32}


def reply(body: str) -> dict[str, Any]:
    return {"statusCode": 200, "headers": HEADERS, "body": body, "isBase64Encoded": False}


@pytest.fixture(scope="module")
def written() -> Callable[[Any], bytes]:
    """A reply as the runtime client sends it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_EXECUTION_ENV", "AWS_Lambda_python3.13")
        marshaller = LambdaMarshaller()
    return lambda reply: marshaller.marshal_response(reply)[0].encode()


@given(value=st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
@example(value=[*NASTY])
def test_what_a_body_takes_is_what_the_runtime_client_writes(written: Callable[[Any], bytes], value: Any) -> None:
    body = dumps(value).decode()
    assert as_text(body) == len(written(body)) - len('""')


@pytest.mark.parametrize("text", NASTY)
def test_a_body_below_the_limit_is_carried_whatever_is_in_it(written: Callable[[Any], bytes], text: str) -> None:
    one = len(dumps(text)) - len(b'""')
    body = dumps(text * ((BODY_LIMIT - 2) // one)).decode()

    carried = fitted(reply(body))

    assert carried is not None
    assert len(written(carried)) <= REPLY_LIMIT
    assert (b64decode(carried["body"]).decode() if carried["isBase64Encoded"] else carried["body"]) == body


@pytest.mark.parametrize("text", NASTY)
def test_what_is_refused_is_too_large_in_either_form(written: Callable[[Any], bytes], text: str) -> None:
    one = len(dumps(text)) - len(b'""')
    for size in (BODY_LIMIT + 100_000, REPLY_LIMIT - 1_000, REPLY_LIMIT):
        body = dumps(text * (size // one)).decode()
        carried = fitted(reply(body))
        fits = len(written(reply(body))) <= REPLY_LIMIT or len(body.encode()) * 4 / 3 <= REPLY_LIMIT - 200
        assert (carried is not None) == fits, size
        assert carried is None or len(written(carried)) <= REPLY_LIMIT


def test_an_ordinary_answer_is_left_as_it_is() -> None:
    for body in ("", "{}", json.dumps({"outputs": ["x" * 10_000]})):
        assert fitted(reply(body)) == reply(body)
    bytes_already = {**reply("YQ==" * 1_600_000), "isBase64Encoded": True}
    assert fitted(bytes_already) is None
