"""The catalogue inside a function: as fresh as two seconds while events come, and never watched between them."""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.snapshots import Snapshots
from registry.catalogue import Catalogue
from registry.errors import Unavailable
from registry.store import Store

MAX_AGE_S = 2.0
"""How stale a catalogue may be while events come; a look costs one read of one small item."""


class CatalogueWatch:
    """Keeps snapshots at the store's head by looking when an event comes; a frozen environment cannot poll."""

    def __init__(
        self,
        store: Store,
        snapshots: Snapshots,
        *,
        changed: Callable[[Catalogue], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._snapshots = snapshots
        self._changed = changed
        self._clock = clock
        self._looked: float | None = None

    def look(self) -> None:
        """Bring the snapshots to the store's head unless that was done MAX_AGE_S ago or less.

        `changed` is called with each new catalogue before anybody sees it. While the store is unreachable the last
        catalogue stands; without one, Unavailable is raised.
        """
        now = self._clock()
        if self._looked is not None and now - self._looked <= MAX_AGE_S:
            return
        try:
            self._follow()
        except Unavailable:
            if self._looked is None:
                raise
        self._looked = now

    def _follow(self) -> None:
        if self._store.head() == self._snapshots.view()[0].version:
            return
        catalogue = self._store.load()
        self._changed(catalogue)
        self._snapshots.replace(catalogue)
