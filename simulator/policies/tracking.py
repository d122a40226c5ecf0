"""What every baseline keeps in mind: arrivals by the second, and what is to be tried again; it decides nothing."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from math import inf

from registry.catalogue import Catalogue
from scheduler.events import Event
from simulator.policies.options import CONTAINERS
from simulator.policy import Action, Ended, Job, Reject

AGAIN_S = 0.1
"""How long a failed invocation is held back before the next try: about the first back-off of AWS's clients."""

LATE = "it cannot be done by its deadline"
UNANSWERABLE = "nothing that is deployed may answer it"


class Rate:
    """Arrivals counted by the second."""

    def __init__(self, keep_s: int = 600) -> None:
        self._counts: deque[tuple[int, int]] = deque()
        self._keep_s = keep_s

    def add(self, now: float, jobs: int = 1) -> None:
        """Count so many arrivals."""
        second = int(now)
        if self._counts and self._counts[-1][0] == second:
            jobs += self._counts.pop()[1]
        self._counts.append((second, jobs))
        while self._counts[0][0] < second - self._keep_s:
            self._counts.popleft()

    def mean(self, now: float, seconds: int) -> float:
        """Arrivals a second over the last `seconds` whole seconds."""
        return sum(self._last(now, seconds)) / seconds

    def peak(self, now: float, seconds: int, width: int = 1) -> float:
        """The largest mean rate (a second) of any window of `width` seconds within the last `seconds`."""
        return peak([self], now, seconds, width)

    def bins(self, now: float, seconds: int, width: int) -> Counter[int]:
        """Arrivals in each window of `width` seconds within the last `seconds`, the newest window as 0."""
        last = int(now) - 1
        found: Counter[int] = Counter()
        for second, jobs in reversed(self._counts):
            if last - seconds < second <= last:
                found[(last - second) // width] += jobs
        return found

    def _last(self, now: float, seconds: int) -> Iterator[int]:
        first = int(now) - seconds
        for second, jobs in reversed(self._counts):
            if second < first:
                return
            if second < int(now):
                yield jobs


def peak(rates: Iterable[Rate], now: float, seconds: int, width: int = 1) -> float:
    """The largest mean rate (a second) of all together in any window of `width` seconds within the last `seconds`."""
    together: Counter[int] = Counter()
    for rate in rates:
        together.update(rate.bins(now, seconds, width))
    return max(together.values(), default=0) / width


class Baseline:
    """Keeps track and decides nothing: what the published policies differ from."""

    name = "baseline"
    period_s = inf

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._again: deque[tuple[float, Job]] = deque()

    def arrive(self, job: Job, now: float) -> Iterable[Action]:
        """Nothing is deployed."""
        del now
        return [Reject(job, UNANSWERABLE)]

    def ended(self, end: Ended, now: float) -> Iterable[Action]:
        """What failed is tried again a moment later."""
        if not end.ok:
            self.again(end.invoke.jobs, now)
        return []

    def again(self, jobs: Iterable[Job], now: float) -> None:
        """Let jobs arrive once more in a moment."""
        self._again.extend((now + AGAIN_S, job) for job in jobs)

    def tick(self, now: float) -> Iterable[Action]:
        """Nothing is done by the clock."""
        del now
        return []

    def wake(self, now: float) -> Iterable[Action]:
        """Place again what failed; what is late by now is refused."""
        actions: list[Action] = []
        while self._again and self._again[0][0] <= now:
            job = self._again.popleft()[1]
            actions += [Reject(job, LATE)] if job.deadline <= now else self.arrive(job, now)
        return actions

    def wake_at(self) -> float:
        """When the first failed job is due again."""
        return self._again[0][0] if self._again else inf

    def happened(self, event: Event) -> None:
        """No published policy looks further than at its own requests."""

    def initial(self) -> Mapping[str, int]:
        """Copies of each container tier that are up when it begins: its operator's, before the first request."""
        return {tier.name: 0 for tier in self.catalogue.tiers.values() if tier.kind in CONTAINERS}
