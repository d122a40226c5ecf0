"""What was measured of an attempt stands beside the same of the variant that was better."""

from __future__ import annotations

from cli.attempts import attempts, measured
from cli.output import screen


def test_the_rivals_number_is_in_brackets() -> None:
    numbers = {"accuracy": 0.94, "p50_ms": 0.25, "load_ms": 3.0, "forest.accuracy": 0.95, "forest.p50_ms": 0.2}
    assert measured(numbers) == "accuracy 0.94 (0.95), p50_ms 0.25 (0.2), load_ms 3"
    assert measured({}) == ""


def test_a_rival_with_a_dot_in_its_name_is_told_apart() -> None:
    assert measured({"p50_ms": 1.0, "forest-1.5.p50_ms": 2.0}) == "p50_ms 1 (2)"


def test_what_does_not_apply_has_not_failed() -> None:
    attempt = {"name": "trees", "generator": "trees", "parent": "svm", "outcome": "inapplicable", "reason": "no trees"}
    console = screen()
    with console.capture() as shown:
        console.print(attempts([{**attempt, "numbers": {}}, {**attempt, "outcome": "failed", "numbers": {}}]))
    first, second = (" ".join(line.split()) for line in shown.get().splitlines() if "svm" in line)
    assert first == "trees trees svm does not apply no trees"
    assert second == "trees trees svm failed no trees"
