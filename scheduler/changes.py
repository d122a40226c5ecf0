"""One tier while several events change it; it is nobody's state before it is frozen."""

from __future__ import annotations

import math

from scheduler.environments import Environment, EnvironmentEvent, State
from scheduler.errors import FleetError
from scheduler.tier_state import Tally, Ticket, TierState, Waiting


class TierChanges:
    """A tier's state in mutable parts: each is copied once, whatever the number of events."""

    __slots__ = (
        "_environments",
        "_free",
        "_live",
        "_outstanding",
        "_running",
        "_starting",
        "_state",
        "held",
        "touched",
    )

    def __init__(self, state: TierState) -> None:
        tally = state.tally
        self._state = state
        self._environments = dict(state.environments)
        self._outstanding = dict(state.outstanding)
        self._free = dict(tally.free)
        self._starting, self._live, self._running = tally.starting, tally.live, tally.running
        self.touched: set[str] = set()
        """Variants that an environment which changed held or holds."""
        self.held: dict[str, int] = {}
        """Variants that more ready environments hold than before, or fewer, and by how many."""

    @property
    def was_starved(self) -> bool:
        """Whether one more request would have waited, before any change."""
        return self._state.starved

    def apply(self, event: EnvironmentEvent) -> None:
        """What happened to an environment; raises FleetError, and changes nothing, where that cannot be."""
        name = event.environment
        old = self._environments.get(name) or Environment(slots=self._state.slots)
        new = old.after(event)
        if new.state is State.GONE:
            del self._environments[name]
        else:
            self._environments[name] = new
        self._starting += (new.state is State.STARTING) - (old.state is State.STARTING)
        self._live += new.ready - old.ready
        self._running += new.running - old.running
        self._move(name, old, new)
        self.touched.update(old.resident)
        if new.resident != old.resident:
            self.touched.update(new.resident)
            self._hold(old, new)

    def wait(self, ticket: Ticket, waiting: Waiting) -> None:
        """One more unfinished request; raises FleetError for one that is queued already."""
        if ticket in self._outstanding:
            raise FleetError(f"request {ticket[1]!r} is queued for {ticket[0]!r} already")
        self._outstanding[ticket] = waiting

    def leave(self, ticket: Ticket) -> bool:
        """Whether a request was unfinished; it is no more."""
        return self._outstanding.pop(ticket, None) is not None

    def frozen(self) -> TierState:
        """The state after all of it; nothing may be changed any more."""
        old = self._state
        return TierState(
            old.capacity,
            old.slots,
            old.idle_timeout_s,
            self._environments,
            self._outstanding,
            old.snapshot,
            old.unavailable_until,
            old.reason,
            Tally(self._starting, self._live, self._running, self._free),
        )

    def _move(self, name: str, old: Environment, new: Environment) -> None:
        """Keep the free ones in the order of their expiry; what became free just now is mostly the last of them."""
        if old.free:
            del self._free[name]
        if not new.free:
            return
        last = next(reversed(self._free.values()), None)
        self._free[name] = new
        if last is not None and self._expiry(last) > self._expiry(new):
            self._free = dict(sorted(self._free.items(), key=lambda item: self._expiry(item[1])))

    def _expiry(self, environment: Environment) -> float:
        return math.inf if environment.running else environment.used_at

    def _hold(self, old: Environment, new: Environment) -> None:
        for variant in {*old.resident}:
            self.held[variant] = self.held.get(variant, 0) - 1
        for variant in {*new.resident}:
            self.held[variant] = self.held.get(variant, 0) + 1
