"""A journal recalls what was noted, for as long as it is fresh, and never trips over what a crash left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from optimizer.journal import Journal

FIRST, SECOND = {"what": "cell", "rows": 1}, {"what": "cell", "rows": 8}


def noted(path: Path, subject: dict[str, Any], *facts: Any, at: float = 0.0, fresh: bool = False) -> None:
    with Journal.open(path, clock=lambda: at, fresh=fresh) as journal:
        for fact in facts:
            journal.note(subject, fact)


def recalled(path: Path, subject: dict[str, Any], at: float = 0.0) -> list[Any]:
    with Journal.open(path, clock=lambda: at) as journal:
        return list(journal.recall(subject))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "measurements.jsonl"


def test_what_was_noted_is_recalled_in_order(path: Path) -> None:
    noted(path, FIRST, [1.5, 2.5], [3.5])
    noted(path, FIRST, [4.5])
    assert recalled(path, FIRST) == [[1.5, 2.5], [3.5], [4.5]]
    assert recalled(path, {"rows": 1, "what": "cell"}) == [[1.5, 2.5], [3.5], [4.5]]
    assert recalled(path, SECOND) == []


def test_it_knows_since_when(path: Path) -> None:
    noted(path, FIRST, "a", at=10.0)
    noted(path, FIRST, "b", at=20.0)
    with Journal.open(path, clock=lambda: 30.0) as journal:
        assert journal.since(FIRST) == 10
        assert journal.since(SECOND) is None


def test_only_what_was_there_when_it_was_opened_is_recalled(path: Path) -> None:
    with Journal.open(path) as journal:
        journal.note(FIRST, 1)
        assert journal.recall(FIRST) == ()
    journal = Journal()
    journal.note(FIRST, 1)
    assert journal.recall(FIRST) == ()


def test_old_measurements_are_dropped_from_the_file(path: Path) -> None:
    noted(path, FIRST, "old", at=0.0)
    noted(path, SECOND, "new", at=80_000.0)
    assert recalled(path, FIRST, at=100_000.0) == []
    assert recalled(path, SECOND, at=100_000.0) == ["new"]
    assert b"old" not in path.read_bytes()


def test_fresh_measurements_replace_the_old_ones_of_their_subject_only(path: Path) -> None:
    noted(path, FIRST, "old")
    noted(path, SECOND, "kept")
    noted(path, FIRST, "new", fresh=True)
    assert recalled(path, FIRST) == ["new"]
    assert recalled(path, SECOND) == ["kept"]


@pytest.mark.parametrize("tail", [b'{"torn":"', b'{"id":"x","at":1,"measured":2}\n', b"\xff\x00\n", b"[1]\n", b"\n"])
def test_a_torn_or_foreign_tail_is_left_out_and_written_over(path: Path, tail: bytes) -> None:
    noted(path, FIRST, "whole")
    path.write_bytes(path.read_bytes() + tail)
    noted(path, FIRST, "after")
    assert recalled(path, FIRST) == ["whole", "after"]
    assert tail.strip() == b"" or tail not in path.read_bytes()


def test_every_cut_of_the_file_leaves_what_was_whole(path: Path) -> None:
    noted(path, FIRST, "a", "b")
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert recalled(path, FIRST) in ([], ["a"])
    path.write_bytes(whole)
    assert recalled(path, FIRST) == ["a", "b"]


def test_a_second_one_at_the_same_time_stands_aside(path: Path) -> None:
    with Journal.open(path) as first, Journal.open(path) as second:
        first.note(FIRST, "first")
        second.note(FIRST, "second")
        assert second.recall(FIRST) == ()
    assert recalled(path, FIRST) == ["first"]
