"""Bytes in bad faith: the same seed draws the same from each maker, and no two makers draw alike."""

from __future__ import annotations

from random import Random

from benchmarks.fuzz_bytes import RAW


def test_each_draws_from_the_seed() -> None:
    drawn = [make(Random(1)) for make in RAW]

    assert drawn == [make(Random(1)) for make in RAW]
    assert len(set(drawn)) == len(RAW)
    assert all(drawn)
