"""The life of one execution environment as a literal table of transitions; it knows nothing of tiers or placements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from scheduler.errors import FleetError
from scheduler.events import EnvironmentBusy, EnvironmentGone, EnvironmentReady, EnvironmentStarting

EnvironmentEvent = EnvironmentStarting | EnvironmentReady | EnvironmentBusy | EnvironmentGone


class State(StrEnum):
    """Where an environment is in its life."""

    GONE = "gone"
    """Not there: never started, or no more."""
    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"


TRANSITIONS: Mapping[State, Mapping[type[EnvironmentEvent], State]] = {
    State.GONE: {
        EnvironmentStarting: State.STARTING,
        EnvironmentReady: State.IDLE,  # it was there before anybody watched
    },
    State.STARTING: {
        EnvironmentReady: State.IDLE,
        EnvironmentBusy: State.BUSY,  # it was started for a request, which it runs at once
        EnvironmentGone: State.GONE,
    },
    State.IDLE: {
        EnvironmentReady: State.IDLE,  # it tells what is resident now
        EnvironmentBusy: State.BUSY,
        EnvironmentGone: State.GONE,
    },
    State.BUSY: {
        EnvironmentReady: State.IDLE,  # one run ended; it stays busy while others go on
        EnvironmentBusy: State.BUSY,  # one more run, where an environment has a slot for it
        EnvironmentGone: State.GONE,
    },
}
"""State and event to the next state; what is not here cannot happen."""


@dataclass(frozen=True, slots=True)
class Environment:
    """One environment: `running` of its `slots` are taken, and `resident` variants (ids) are loaded."""

    state: State = State.GONE
    slots: int = 1
    running: int = 0
    resident: tuple[str, ...] = ()
    used_at: float = 0.0
    """When it last became ready, in seconds."""

    @property
    def ready(self) -> bool:
        """Whether it is there, busy or not."""
        return self.state is State.IDLE or self.state is State.BUSY

    @property
    def free(self) -> int:
        """How many more runs it takes now."""
        return self.slots - self.running if self.ready else 0

    def after(self, event: EnvironmentEvent) -> Environment:
        """The environment after `event`; raises FleetError when that cannot happen to it now."""
        state = TRANSITIONS[self.state].get(type(event))
        if state is None:
            raise FleetError(
                f"{type(event).__name__} cannot happen to environment {event.environment!r} of tier {event.tier!r}, "
                f"which is {self.state}"
            )
        if isinstance(event, EnvironmentBusy):
            return self._busier(event)
        if isinstance(event, EnvironmentReady):
            left = max(0, self.running - 1)
            return Environment(State.BUSY if left else State.IDLE, self.slots, left, event.resident, event.now)
        return Environment(state, self.slots)

    def _busier(self, event: EnvironmentBusy) -> Environment:
        if self.running >= self.slots:
            raise FleetError(
                f"environment {event.environment!r} of tier {event.tier!r} runs {self.running} requests already, "
                f"and has {self.slots} slots"
            )
        return Environment(State.BUSY, self.slots, self.running + 1, self.resident, self.used_at)
