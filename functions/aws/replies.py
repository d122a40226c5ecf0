"""Whether Lambda carries an answer, and in which form it does; it changes nothing that the caller sees.

A front door's answer is one JSON document for Lambda, in which the body is a string: its quotes and backslashes are
escaped once more. What that makes too large may still fit in base64, a third more than the body whatever is in it; both
front doors decode it (API Gateway Developer Guide, "Lambda proxy integrations", payload format 2.0; Lambda Developer
Guide, "Function URLs").
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

REPLY_LIMIT = 6_291_556
"""Most bytes of a function's reply: 6 MB, as Lambda's own refusal has it."""

BODY_LIMIT = 4_700_000
"""Bytes of a body that fit whatever is in them: three quarters of a reply, less what stands around the body."""

WORST = 4
"""Bytes that a character of a body is at most in a reply: in UTF-8, where it needs no escape."""

SPARE = 20_000
"""Bytes around a body, at most: it is looked at closely only near the limit."""


def fitted(reply: Mapping[str, Any]) -> dict[str, Any] | None:
    """A payload 2.0 reply in the form in which Lambda carries it, or None where it is too large in each."""
    body = reply.get("body") or ""
    if len(body) * WORST + SPARE <= REPLY_LIMIT:
        return dict(reply)
    around = len(json.dumps({**reply, "body": ""}))
    if around + as_text(body) <= REPLY_LIMIT:
        return dict(reply)
    if reply.get("isBase64Encoded"):
        return None
    data = body.encode()
    if around + (len(data) + 2) // 3 * 4 > REPLY_LIMIT:
        return None
    return {**reply, "body": base64.b64encode(data).decode(), "isBase64Encoded": True}


def as_text(body: str) -> int:
    """Bytes of a JSON text as a string of a reply, without the quotes around it.

    Quotes and backslashes are escaped. Control characters cannot be in a JSON text that is written without indentation;
    from Python 3.12 on the runtime leaves what is not ASCII as it is (awslambdaric, `lambda_runtime_marshaller.py`).
    """
    return len(body.encode()) + body.count('"') + body.count("\\")
