"""What tasks were asked for so far, as what to expect of the next minute; a pure function of the minutes it was told.

So it need not be stored: whoever starts anew tells it the minutes that the log of activity keeps.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from statistics import median

from registry.activity import KEPT_MINUTES, Minute, Usage
from registry.catalogue import Catalogue
from registry.model import Slo
from scheduler.capacity import Demand
from scheduler.recurrence import DAY, Recurrence
from scheduler.requests import Request

LATELY = 10
"""Minutes with requests that a task's rate is the mean of, and its rows the median: steady enough, and soon another."""


class History:
    """Ended minutes in, demands out."""

    def __init__(self) -> None:
        self._recurrence = Recurrence()
        self._closed: int | None = None
        """The last minute that was closed."""
        self._lately: dict[str, deque[Usage]] = {}
        self._first: dict[str, int] = {}
        """The first minute in which each task was asked for."""

    def due(self, until: int) -> int:
        """The first minute that has not been told, of those before `until` that are worth telling.

        Where the clock was put back behind what was told, that was never so: all is to be told anew.
        """
        if self._closed is not None and until < self._closed:
            self._recurrence, self._closed, self._lately, self._first = Recurrence(), None, {}, {}
        oldest = until - KEPT_MINUTES
        return oldest if self._closed is None else max(oldest, self._closed + 1)

    def close(self, minutes: Iterable[Minute], until: int) -> None:
        """Everything before minute `until` has ended, and these minutes (later than told before) had requests."""
        for minute in minutes:
            self._recurrence.close(minute.minute, [usage.task for usage in minute.usages])
            self._closed = minute.minute
            for usage in minute.usages:
                self._lately.setdefault(usage.task, deque(maxlen=LATELY)).append(usage)
                self._first.setdefault(usage.task, minute.minute)
        if self._closed is not None and self._closed < until - 1:
            self._recurrence.close(until - 1, ())
            self._closed = until - 1

    def demands(self, catalogue: Catalogue) -> tuple[Demand, ...]:
        """What to expect of each of the catalogue's tasks; those that were never asked for come last."""
        asked = [self._demand(task) for task in self._lately if task in catalogue.tasks]
        ask = self._first_ask(catalogue)
        never = [task for task in catalogue.tasks.values() if task.name not in self._lately]
        return (*asked, *(Demand(task.name, ask, 1 / 60, Request(task.name, task.default_slo)) for task in never))

    def _first_ask(self, catalogue: Catalogue) -> float:
        """Probability that a task is asked for the first time in the next minute.

        A task is registered to be used: the prior is one first request in a day of waiting, a gamma distribution whose
        posterior mean this is (Gelman et al., Bayesian Data Analysis, 2013, section 2.6), waiting being counted from
        the first minute in which any task was asked for.
        """
        if self._closed is None or not self._first:
            return 1 / DAY
        begin = min(self._first.values())
        firsts = [minute - begin for minute in self._first.values() if minute > begin]
        waiting = sum(task not in self._first for task in catalogue.tasks)
        return (1 + len(firsts)) / (DAY + sum(firsts) + waiting * (self._closed + 1 - begin))

    def _demand(self, task: str) -> Demand:
        lately = self._lately[task]
        requests = sum(usage.requests for usage in lately)
        # One batch that nothing takes is not to say what a task is asked for.
        rows = max(1, round(median(usage.rows / usage.requests for usage in lately)))
        rate = requests / len(lately) / 60
        return Demand(task, self._recurrence.ahead(task), rate, Request(task, _usual(lately), rows))


def _usual(usages: deque[Usage]) -> Slo:
    """The SLO of most minutes, the latest of several: what one caller asks for once is not what a task is kept for."""
    counts = Counter(usage.slo for usage in reversed(usages))
    return max(counts, key=counts.__getitem__)
