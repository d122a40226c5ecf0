"""Phases are timed in a process of their own, and their shares are of the whole."""

from __future__ import annotations

import os

import pytest

from benchmarks.faststart import Start, _rows


def start(*phases: tuple[str, str], timed_from_spawn: bool = True) -> Start:
    return Start("f", "cold", phases, {"PATH": os.defpath}, names="known = 1", timed_from_spawn=timed_from_spawn)


def test_each_phase_is_timed_and_the_first_counts_from_before_the_process() -> None:
    from_spawn = start(("interpreter", ""), ("work", "assert known == 1"))
    inside = start(("nothing", ""), timed_from_spawn=False)

    from_spawn.sample()
    inside.sample()

    assert list(from_spawn.samples) == ["interpreter", "work"]
    assert from_spawn.samples["interpreter"][0] > inside.samples["nothing"][0] >= 0.0


def test_a_phase_that_fails_stops_the_benchmark() -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        start(("work", "1 / 0")).sample()


def test_shares_are_of_the_whole() -> None:
    rows = list(_rows("f", "cold", {"a": [1.0, 1.0, 1.0], "b": [3.0, 3.0, 3.0]}))

    assert [(row["phase"], row["ms"], row["share"]) for row in rows] == [
        ("a", 1.0, 0.25),
        ("b", 3.0, 0.75),
        ("whole", 4.0, 1.0),
    ]
