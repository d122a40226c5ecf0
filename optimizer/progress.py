"""How long work reports that it gets on; never prints."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with what has just been done, how many steps are done, and of how many; the last may grow."""


class Steps:
    """Counts steps and reports each; work that turns out longer adds to the total."""

    def __init__(self, report: Progress | None = None) -> None:
        self.done = 0
        self.total = 0
        self._report = report or (lambda _what, _done, _total: None)

    def expect(self, steps: int) -> None:
        """There are this many steps more to come."""
        self.total += steps

    def step(self, what: str) -> None:
        """One step is done."""
        self.done += 1
        self._report(what, self.done, max(self.done, self.total))
