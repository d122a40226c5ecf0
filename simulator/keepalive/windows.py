"""The simplest policies: stay warm for a fixed time, and know the future; the second is a bound, no policy."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict

from simulator.keepalive.policy import EventDriven, Plans
from simulator.keepalive.trace import Trace


class Fixed(EventDriven):
    """Warm for `minutes` after every request, as AWS (10 min) and Azure (20 min) were (ATC'20, section 2); 0: never."""

    def __init__(self, minutes: float) -> None:
        self._minutes = minutes

    def asked(self, application: str, now: float) -> Plans:
        """Warm until the window is over."""
        return {application: ((now, now + self._minutes),)}


class Oracle(EventDriven):
    """Knows every request a minute before it comes, and is warm for that minute or for the whole gap if it is shorter.

    No policy can have fewer cold starts; where requests come at whole minutes, none that decides once a minute can have
    as few for less idle time.
    """

    def __init__(self, trace: Trace) -> None:
        self._times: defaultdict[str, list[float]] = defaultdict(list)
        for time, application in trace:
            self._times[application].append(time)

    def asked(self, application: str, now: float) -> Plans:
        """Warm in the minute before the next request, if there is one."""
        times = self._times[application]
        following = bisect_right(times, now)
        if following == len(times):
            return {}
        return {application: ((max(now, times[following] - 1.0), times[following]),)}
