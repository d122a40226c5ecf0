"""Observations travel as text and come back; what is no such text is refused by name."""

from __future__ import annotations

import json

import pytest

from registry.errors import InvalidValue
from registry.judgements import Case, Observation, case_of, case_text, from_message, to_message, within
from registry.model import Accuracy

OBSERVED = Observation("d1", "sum/large", "blake3:a", 1_790_000_000_000, 2, b"h\x00\xff")


def test_a_message_comes_back() -> None:
    assert from_message(to_message(OBSERVED)) == OBSERVED


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        json.dumps(json.loads(to_message(OBSERVED)) | {"evidence": "*"}),
        json.dumps(json.loads(to_message(OBSERVED)) | {"at_ms": "now"}),
        json.dumps(json.loads(to_message(OBSERVED)) | {"rows": True}),
        json.dumps(json.loads(to_message(OBSERVED)) | {"variant": None}),
        json.dumps(json.loads(to_message(OBSERVED)) | {"more": 1}),
    ],
)
def test_what_is_no_message_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        from_message(text)


def test_keys_sort_as_decisions_were_made() -> None:
    made = [Observation(d, "v", "a", at, 1, b"") for d, at in (("z", 9), ("b", 10), ("a", 11), ("b", 11))]
    assert sorted(made, key=lambda o: o.key) == made


def test_rows_are_taken_until_there_are_enough() -> None:
    newest_first = [Observation(str(n), "v", "a", 9 - n, 2, b"") for n in range(3)]
    assert [o.decision_id for o in within(newest_first, 3)] == ["1", "0"]
    assert within([], 3) == ()


def test_a_case_comes_back() -> None:
    case = Case("a", Accuracy(0.5, 0.4, 0.6, 10, "wilson"), "key", (Accuracy(0.1, 0.0, 0.2, 3, "wilson"),))
    assert case_of(case_text(case)) == case
