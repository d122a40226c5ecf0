"""Tells the log what this environment is asked for and sees, beside the answers; no answer ever waits for it.

A frozen environment writes nothing, so a write starts when a request has been decided, and runs on a thread while the
worker is waited for. Its few milliseconds of CPU are all that the answer can notice. It is done by then, or goes on
when the next event thaws the environment; a connection that died meanwhile the SDK replaces. So that a task that is
asked for once an hour is known at once, and not an hour later, its first request of a minute starts a write, and so do
its tenth and its hundredth; all others go with the next one.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial

from functions.aws.sightings import seen_since, take_in
from gateway.backends.protocol import Backend
from gateway.capacity.arrivals import Arrivals, minute_of
from gateway.snapshots import Snapshots
from registry.activity import ActivityLog, Usage
from registry.errors import RegistryError
from registry.sightings import Sighting
from registry.stores.dynamodb_sightings import DynamoSightings
from scheduler.requests import Request

log = logging.getLogger(__name__)

STEP = 10
"""Requests to a write are so many times those to the last: a rate of 1,000 a minute is told with four writes."""

SIGHTINGS_S = 20.0
"""Least time between two looks at what others saw, which are as long as there are environments."""

NEWS_S = 60.0
"""What somebody told of an environment so lately need not be told again, unless it holds something else since: one
lives for minutes after its last call."""

Taken = dict[int, tuple[Usage, ...]]
"""Usages by minute that are to be written; each leaves when it is."""


class Activity:
    """One environment's part of the log, and what it learns from the others'. All methods are for one thread."""

    def __init__(
        self,
        activity: ActivityLog,
        sightings: DynamoSightings,
        snapshots: Snapshots,
        backends: Mapping[str, Backend],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        thread: Executor | None = None,
    ) -> None:
        """`clock` is the backends'."""
        self._activity, self._sightings = activity, sightings
        self._snapshots, self._backends = snapshots, backends
        self._clock, self._wall = clock, wall
        self._thread = thread or ThreadPoolExecutor(1, thread_name_prefix="activity")
        self._arrivals = Arrivals(wall=wall)
        self._minute = -1
        self._asked: Counter[str] = Counter()
        """Requests of this minute, by task."""
        self._due: dict[str, int] = {}
        """At which of them the next write starts; the first where nothing is said."""
        self._telling: tuple[Future[tuple[Sighting, ...]], Taken] | None = None
        self._sighted_at = float("-inf")

    def note(self, request: Request) -> None:
        """A request was decided and is about to be carried out."""
        self._arrivals.note(request)
        minute = minute_of(self._wall())
        if minute != self._minute:
            self._minute, self._asked, self._due = minute, Counter(), {}
        self._asked[request.task] += 1
        if self._telling is None and self._asked[request.task] >= self._due.get(request.task, 1):
            self._due[request.task] = STEP * self._asked[request.task]
            self._start()

    def look(self) -> None:
        """Take in what the last write came to, if it has ended: what others saw since."""
        if self._telling is None or not self._telling[0].done():
            return
        (ended, taken), self._telling = self._telling, None
        try:
            take_in(ended.result(), self._backends, self._clock(), self._wall())
        except RegistryError as fault:
            log.warning("activity cannot be told: %s", fault)
        except Exception:  # the outermost handler of a telling: the answer that looks is not to suffer
            log.exception("telling activity")
        self._arrivals.give_back(taken)

    def _start(self) -> None:
        now, wall, taken = self._clock(), self._wall(), dict(self._arrivals.take())
        work = partial(self._write, taken)
        if now - self._sighted_at >= SIGHTINGS_S:
            seen = seen_since(self._snapshots.view()[1], self._sighted_at, now, wall)
            self._sighted_at = now
            longest_s = max((backend.tier.idle_timeout_s for backend in self._backends.values()), default=0.0)
            work = partial(self._tell, taken, seen, wall - longest_s, wall)
        self._telling = self._thread.submit(work), taken

    def _write(self, taken: Taken) -> tuple[Sighting, ...]:
        """On the thread: write what was asked for."""
        for minute in sorted(taken):
            self._activity.add(minute, taken[minute])
            del taken[minute]
        return ()

    def _tell(self, taken: Taken, seen: tuple[Sighting, ...], since: float, wall: float) -> tuple[Sighting, ...]:
        """On the thread: write what was asked for, read what others saw, and tell them what they have not."""
        self._write(taken)
        others = self._sightings.since(since, wall)
        told = {(sighting.tier, sighting.environment): sighting for sighting in others}
        self._sightings.add(s for s in seen if _is_news(s, told.get((s.tier, s.environment))))
        return others


def _is_news(seen: Sighting, told: Sighting | None) -> bool:
    return told is None or seen.resident != told.resident or seen.at - told.at > NEWS_S
