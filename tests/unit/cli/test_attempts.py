"""What was measured of an attempt stands beside the same of the variant that was better."""

from __future__ import annotations

from cli.attempts import measured


def test_the_rivals_number_is_in_brackets() -> None:
    numbers = {"accuracy": 0.94, "p50_ms": 0.25, "load_ms": 3.0, "forest.accuracy": 0.95, "forest.p50_ms": 0.2}
    assert measured(numbers) == "accuracy 0.94 (0.95), p50_ms 0.25 (0.2), load_ms 3"
    assert measured({}) == ""


def test_a_rival_with_a_dot_in_its_name_is_told_apart() -> None:
    assert measured({"p50_ms": 1.0, "forest-1.5.p50_ms": 2.0}) == "p50_ms 1 (2)"
