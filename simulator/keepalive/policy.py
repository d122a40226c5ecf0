"""What a keep-alive policy is to the replay: requests and minutes in, spans of warmth out; the future stays hidden.

Times are minutes from the start of the trace. One application is one instance, which is warm or cold.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

Spans = Sequence[tuple[float, float]]
"""When to be warm: (start, stop), both included, ascending and apart."""

Plans = Mapping[str, Spans]
"""By application, what replaces all that was planned for it; an application that is not named keeps its plan."""


class KeepAlive(Protocol):
    """Decides when each application is warm."""

    def asked(self, application: str, now: float) -> Plans:
        """Its request at `now` was answered, which ended its plan: unless one is returned for it, it is unloaded."""

    def closed(self, minute: int, active: Collection[str]) -> Plans:
        """The minute (`minute` - 1, `minute`] is over, in which `active` was asked for."""


class EventDriven:
    """What plans at requests alone: nothing happens when a minute is over."""

    def closed(self, minute: int, active: Collection[str]) -> Plans:
        """Change nothing."""
        return {}


class MinuteDriven:
    """What plans minutes alone: whoever was asked for stays warm until the minute is over and the next one planned."""

    def asked(self, application: str, now: float) -> Plans:
        """Keep it for the rest of the minute, which is none where requests come at whole minutes."""
        return {application: ((now, float(math.ceil(now))),)}


def during_next(minute: int, warm: Collection[str]) -> Plans:
    """These applications are warm in (`minute`, `minute` + 1]."""
    span = ((float(minute), minute + 1.0),)
    return dict.fromkeys(warm, span)
