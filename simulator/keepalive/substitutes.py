"""Who finds a substitute resident while the preferred variant starts, in a shared environment; it serves nobody."""

from __future__ import annotations

from collections import OrderedDict

from simulator.keepalive.trace import Trace


def substituted(trace: Trace, room: int, *, registered: bool = True) -> frozenset[tuple[str, float]]:
    """The requests, as (application, time), whose substitute is resident in one environment that is always warm.

    It has room for `room` substitutes and keeps those that were asked for last. With `registered` it begins with the
    first `room` applications of the trace, as a platform does that knows its tasks before they are asked for; without,
    an application's first request finds none.
    """
    resident: OrderedDict[str, None] = OrderedDict.fromkeys(trace.applications[:room] if registered else ())
    found = set[tuple[str, float]]()
    for time, application in trace:
        if application in resident:
            found.add((application, time))
        resident[application] = None
        resident.move_to_end(application)
        if len(resident) > room:
            resident.popitem(last=False)
    return frozenset(found)
