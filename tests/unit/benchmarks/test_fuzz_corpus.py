"""The hostile corpus: the same seed draws the same, lengths are right where they must be, and deadlines are read."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest

from benchmarks.fuzz_corpus import BYTES, READ_S, RUN_S, cases, within_s
from gateway.http.openapi import OPERATIONS


@pytest.mark.parametrize("operation", [o.name for o in OPERATIONS] + [BYTES])
def test_cases_of_every_operation_are_drawn_from_the_seed(operation: str) -> None:
    drawn = list(islice(cases(operation, Random(1)), 40))

    assert drawn == list(islice(cases(operation, Random(1)), 40))
    assert len({case.raw for case in drawn}) > 5
    assert {case.operation for case in drawn} == {operation}


def test_a_whole_request_has_one_length_and_it_is_the_bodys() -> None:
    for operation in ("predict", "infer", "plan", "tasks"):
        known = operation if operation != "tasks" else "listTasks"
        for case in islice(cases(known, Random(2)), 200):
            head, _, body = case.raw.partition(b"\r\n\r\n")
            (length,) = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
            assert int(length.partition(b":")[2]) == len(body)


@pytest.mark.parametrize(
    ("operation", "body", "seconds"),
    [
        ("predict", b'{"slo": {"latency_ms": 250, "on_infeasible": "strict"}}', 0.25),
        ("predict", b'{"slo": {"latency_ms": 1e9, "on_infeasible": "strict"}}', RUN_S),
        ("predict", b'{"slo": {"latency_ms": 250}}', RUN_S),
        ("predict", b'{"slo": {"latency_ms": true, "on_infeasible": "strict"}}', RUN_S),
        ("predict", b"[" * 100_000, RUN_S),
        ("infer", b"\xff", RUN_S),
        ("plan", b'{"slo": {"latency_ms": 250, "on_infeasible": "strict"}}', READ_S),
    ],
)
def test_an_answer_is_due_by_a_strict_bound_or_the_tiers_timeout(operation: str, body: bytes, seconds: float) -> None:
    assert within_s(operation, body) == seconds
