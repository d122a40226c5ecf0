"""Progress never runs past its total."""

from __future__ import annotations

from optimizer.progress import Steps


def test_steps_are_counted_against_a_total_that_may_grow() -> None:
    seen: list[tuple[str, int, int]] = []
    steps = Steps(lambda *step: seen.append(step))
    steps.expect(2)
    steps.step("a")
    steps.expect(1)
    for what in "bcd":
        steps.step(what)
    assert seen == [("a", 1, 2), ("b", 2, 3), ("c", 3, 3), ("d", 4, 4)]


def test_nobody_has_to_listen() -> None:
    steps = Steps()
    steps.step("a")
    assert steps.done == 1
