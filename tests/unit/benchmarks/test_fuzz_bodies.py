"""Bodies in bad faith: the same seed draws the same, and some of every kind are as they should be."""

from __future__ import annotations

import json
from random import Random

import pytest

from benchmarks.fuzz_bodies import BODIES, LARGE_ROWS, large, small


@pytest.mark.parametrize("operation", sorted(BODIES))
def test_some_read_as_json_and_some_do_not(operation: str) -> None:
    drawn = [BODIES[operation]("rows", Random(seed)) for seed in range(80)]

    assert drawn == [BODIES[operation]("rows", Random(seed)) for seed in range(80)]
    assert {_reads(body) for _, body in drawn} == {True, False}


def test_where_no_body_belongs_there_is_mostly_none() -> None:
    drawn = [small("rows", Random(seed)) for seed in range(80)]

    assert 40 < drawn.count(({}, b"")) < 80


def test_a_large_body_holds_its_rows() -> None:
    assert len(json.loads(large(b"0"))["inputs"]) == LARGE_ROWS + 1


def _reads(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True
