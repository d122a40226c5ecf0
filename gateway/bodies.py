"""JSON bodies of predictions: what is asked as values, checked for its form, and answers; knows no transport."""

from __future__ import annotations

import string
from collections.abc import Collection, Mapping
from typing import Any

from gateway.errors import BadRequest, Unprocessable
from gateway.service import Answer
from registry.model import Task
from runtime.codecs.native_json import decode_inputs, encode_outputs
from runtime.codecs.text import dumps, loads

ID_LIMIT = 128

LISTED = 50
"""Of a list that nobody says the length of."""

LIMIT_DIGITS = 4

_ID_CHARACTERS = frozenset(string.ascii_letters + string.digits + "-_.:/")


def predict_request(body: bytes, task: Task) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What a request for a prediction says beside its inputs, and these as tensors.

    The inputs as they were parsed, some ten times as large, are gone before the request waits for anything. Raises
    BadRequest, Unprocessable, or what the codec raises of the inputs.
    """
    given = dict(object_of(body, {"inputs", "slo", "id"}))
    if "inputs" not in given:
        raise Unprocessable("inputs: is missing; give the task's tensors", field="inputs")
    inputs = decode_inputs(task.inputs, given.pop("inputs"))
    return given, inputs


def answer_body(answer: Answer) -> bytes:
    """What the caller is sent."""
    return dumps(
        {
            "id": answer.id,
            "task": answer.decision.task,
            "outputs": encode_outputs(answer.outputs),
            "decision": answer.decision,  # orjson writes dataclasses; a document of it costs 40 microseconds
        }
    )


def object_of(body: bytes, known: Collection[str]) -> Mapping[str, Any]:
    """The object that a body holds; raises Unprocessable for a field that is not `known`, BadRequest for no object."""
    document = loads(body)
    if not isinstance(document, dict):
        raise BadRequest("the body is not a JSON object")
    for name in document:
        if name not in known:
            raise Unprocessable(f"{name[:80]}: is not a field; use {', '.join(sorted(known))}", field=name[:80])
    return document


def hints_of(given: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The SLO hints of a request, if it has any; raises Unprocessable."""
    hints = given.get("slo")
    if hints is not None and not isinstance(hints, dict):
        raise Unprocessable("slo: is not an object; give hints by name", field="slo")
    return hints


def limit_of(query: Mapping[str, str]) -> int:
    """How many a list is to have at most; raises Unprocessable."""
    for name in query:
        if name != "limit":
            raise Unprocessable(f"{name[:80]}: is not a parameter; use limit", field=name[:80])
    limit = query.get("limit", str(LISTED))
    if not limit.isascii() or not limit.isdecimal() or not 1 <= len(limit) <= LIMIT_DIGITS:
        raise Unprocessable("limit: is not a whole number; give 1 or more", field="limit")
    return int(limit)


def id_of(given: Any) -> str | None:
    """The caller's id, fit to be echoed in a header; raises Unprocessable."""
    if given is None:
        return None
    if not isinstance(given, str) or not 0 < len(given) <= ID_LIMIT or set(given) - _ID_CHARACTERS:
        raise Unprocessable(
            f"id: is not 1 to {ID_LIMIT} letters, digits or any of - _ . : /; send another, or none", field="id"
        )
    return given
