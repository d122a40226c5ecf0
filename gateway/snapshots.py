"""The catalogue and fleet as of now, held in memory; the decision path reads them and never waits for them."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator

from registry.catalogue import Catalogue
from scheduler.errors import FleetError
from scheduler.events import Event
from scheduler.fleet import Fleet

log = logging.getLogger(__name__)

PENDING = 256
"""Events that may wait to be applied when nobody looks: some 8 ms of work, and a few dozen kilobytes."""


class Snapshots:
    """One catalogue and the fleet that belongs to it; both are immutable, the pair is swapped under a lock.

    Backends emit from the loop and from their own threads. Emitting costs next to nothing: events wait, and are
    applied in order before anybody sees the fleet (an event is some 25 to 50 microseconds, a request has five).
    """

    def __init__(self, catalogue: Catalogue, fleet: Fleet | None = None) -> None:
        self._lock = threading.Lock()
        self._pending: deque[Event] = deque()
        self._view = (catalogue, fleet if fleet is not None else Fleet.empty(catalogue))

    def view(self) -> tuple[Catalogue, Fleet]:
        """A consistent pair, after every event so far."""
        self.settle()
        return self._view

    def view_for(self, task: str) -> tuple[Catalogue, Fleet]:
        """What a decision about a task sees: all of it, where tenants share environments."""
        return self.view()

    def emit(self, event: Event) -> None:
        """Take in an event; one that the fleet refuses will be logged and dropped.

        A report can be late: of a placement or tier that a newer catalogue no longer has.
        """
        self._pending.append(event)
        if len(self._pending) > PENDING:
            self.settle()

    def settle(self) -> None:
        """Apply the events that wait; whoever has time to spare calls this, and the next decision has less to do."""
        if not self._pending:
            return
        with self._lock:
            catalogue, fleet = self._view
            self._view = (catalogue, self._applied(fleet))

    def replace(self, catalogue: Catalogue) -> None:
        """Move to another version of the catalogue, carrying the fleet's state over."""
        with self._lock:
            self._view = (catalogue, self._applied(self._view[1]).follow(catalogue))

    def _applied(self, fleet: Fleet) -> Fleet:
        return fleet.apply_all(self._taken(), _dropped) if self._pending else fleet

    def _taken(self) -> Iterator[Event]:
        while self._pending:
            yield self._pending.popleft()


def _dropped(event: Event, error: FleetError) -> None:
    log.info("dropped %s: %s", event, error)
