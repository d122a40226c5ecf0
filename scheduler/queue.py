"""The works of one task that wait, by priority and then by deadline; it knows nothing of runs."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from itertools import islice
from math import inf

from scheduler.work import Work

_Entry = tuple[float, int, Work]

_LAST = 1 << 62
"""After every work of the same deadline."""


class Queue:
    """Waiting works, the most urgent first: earliest deadline first within a priority, then first come first."""

    __slots__ = ("_classes", "_entry", "_serial", "rows")

    def __init__(self) -> None:
        self._classes: dict[int, list[_Entry]] = {}
        self._entry: dict[Work, _Entry] = {}
        self._serial = 0
        self.rows = 0
        """Of all waiting works together."""

    def __len__(self) -> int:
        return len(self._entry)

    def __contains__(self, work: Work) -> bool:
        return work in self._entry

    def __iter__(self) -> Iterator[Work]:
        """The works, the most urgent first."""
        for priority in sorted(self._classes):
            for entry in self._classes[priority]:
                yield entry[2]

    def first(self, most: int) -> list[Work]:
        """The first works, `most` of them at most, the most urgent first."""
        first: list[Work] = []
        for priority in sorted(self._classes):
            first += [entry[2] for entry in self._classes[priority][: most - len(first)]]
            if len(first) == most:
                break
        return first

    def add(self, work: Work) -> None:
        """One more waits."""
        self._serial += 1
        entry = self._entry[work] = (work.deadline, self._serial, work)
        entries = self._classes.get(work.priority)
        if entries is None:
            self._classes[work.priority] = [entry]
        elif entries[-1][0] <= work.deadline:
            entries.append(entry)  # as nearly all do, where deadlines are alike
        else:
            insort(entries, entry)
        self.rows += work.rows

    def remove(self, work: Work) -> bool:
        """It waits no more; whether it did."""
        entry = self._entry.pop(work, None)
        if entry is None:
            return False
        entries = self._classes[work.priority]
        del entries[bisect_left(entries, entry)]
        if not entries:
            del self._classes[work.priority]
        self.rows -= work.rows
        return True

    def take(self, works: tuple[Work, ...]) -> None:
        """These wait no more; they are the first ones, as a rule."""
        entries = self._classes.get(works[0].priority, [])
        count = len(works)
        if count <= len(entries) and all(entry[2] is work for entry, work in zip(entries, works, strict=False)):
            del entries[:count]
            for work in works:
                del self._entry[work]
                self.rows -= work.rows
            if not entries:
                del self._classes[works[0].priority]
            return
        for work in works:
            self.remove(work)

    def ahead_of(self, deadline: float, priority: int) -> int:
        """Rows that would run before a work of this deadline and priority."""
        rows, works = 0, len(self._entry)
        if len(self._classes) == 1 and priority in self._classes and self._classes[priority][-1][0] <= deadline:
            return self.rows  # as nearly always, where deadlines are alike
        for level, entries in self._classes.items():
            count = self._before(level, entries, deadline, priority)
            if self.rows == works:  # one row each, as most are
                rows += count
            elif count == works:
                rows += self.rows
            else:
                rows += sum(entry[2].rows for entry in islice(entries, count))
        return rows

    def behind(self, deadline: float, priority: int, most: int) -> Iterator[tuple[float, Work]]:
        """Works with a deadline that would run after one of this deadline and priority, and the rows before each.

        Some `most` of them, evenly spaced; rows are counted as if all works had as many.
        """
        mean, place = self.rows / len(self) if self else 0.0, 0
        for level in sorted(self._classes):
            entries = self._classes[level]
            start = self._before(level, entries, deadline, priority)
            end = len(entries) if entries[-1][0] < inf else bisect_left(entries, (inf,))
            for i in range(start, end, max(1, (end - start) // most)):
                yield (place + i) * mean, entries[i][2]
            place += len(entries)

    @staticmethod
    def _before(level: int, entries: Sequence[_Entry], deadline: float, priority: int) -> int:
        """Works of one class that would run before a work of this deadline and priority."""
        if level != priority:
            return len(entries) if level < priority else 0
        return len(entries) if entries[-1][0] <= deadline else bisect_left(entries, (deadline, _LAST))

    def before(self, instant: float) -> list[Work]:
        """The works whose deadline is at `instant` or earlier."""
        found = []
        for entries in self._classes.values():
            if entries[0][0] <= instant:
                found += [entry[2] for entry in entries[: bisect_left(entries, (instant, _LAST))]]
        return found

    @property
    def earliest(self) -> float:
        """The earliest deadline; infinite when nothing waits."""
        return min((entries[0][0] for entries in self._classes.values()), default=inf)
