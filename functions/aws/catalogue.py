"""The catalogue inside a function: as fresh as two seconds while events come, and never watched between them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor

from gateway.snapshots import Snapshots
from registry.catalogue import Catalogue
from registry.errors import RegistryError, Unavailable
from registry.store import Store

log = logging.getLogger(__name__)

MAX_AGE_S = 1.5
"""How stale a catalogue may be while events come, so that a release is everywhere in 2 s; a look costs one read of one
small item, and at most so many of them reach its partition as there are environments (docs/design.md)."""

FIRST_S = 8.0
"""How long the first look of an environment is waited for at most: no function that needs it has less than 10 s."""

PATIENCE_S = 0.25
"""How long a request waits for a look where it could go by the last catalogue: a read takes some 10 ms, and a table
that takes longer may take until the client gives up."""


class CatalogueWatch:
    """Keeps snapshots at the store's head by looking when an event comes; a frozen environment cannot poll.

    All methods are for one thread; the store is read on another.
    """

    def __init__(
        self,
        store: Store,
        snapshots: Snapshots,
        *,
        changed: Callable[[Catalogue], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        thread: Executor | None = None,
    ) -> None:
        self._store = store
        self._snapshots = snapshots
        self._changed = changed
        self._clock = clock
        self._thread = thread or ThreadPoolExecutor(1, thread_name_prefix="catalogue")
        self._looking: Future[Catalogue | None] | None = None
        self._began = 0.0
        self._asked: float | None = None
        """When the last look that ended began; None until one has succeeded."""

    def look(self, within_s: float = FIRST_S) -> None:
        """Bring the snapshots to the store's head unless that was done MAX_AGE_S ago or less.

        `changed` is called with each new catalogue before anybody sees it. While the store is unreachable, or what it
        has is damaged, the last catalogue stands, and none waits for it longer than PATIENCE_S. Without one,
        Unavailable is raised, `within_s` seconds from now or FIRST_S at the latest; a look that is slower than that is
        the next event's.
        """
        now = self._clock()
        if self._looking is None:
            if self._asked is not None and now - self._asked <= MAX_AGE_S:
                return
            self._began = now
            self._looking = self._thread.submit(self._newer, self._snapshots.view()[0].version)
        try:
            catalogue = self._looking.result(min(within_s, FIRST_S if self._asked is None else PATIENCE_S))
        except TimeoutError:
            if self._asked is None:
                raise Unavailable("catalogue", "it is still being read") from None
            return  # the next event looks what came of it
        except Exception as fault:  # the outermost handler of a look: whatever came of it, the next one reads again
            self._looking = None
            log.warning("the catalogue cannot be refreshed: %s", fault, exc_info=not isinstance(fault, RegistryError))
            if self._asked is None:
                raise Unavailable("catalogue", str(fault)) from fault
            catalogue = None
        self._looking, self._asked = None, self._began
        if catalogue is not None:
            self._changed(catalogue)
            self._snapshots.replace(catalogue)

    def _newer(self, version: int) -> Catalogue | None:
        """On the thread: the store's head where it is another version."""
        return None if self._store.head() == version else self._store.load()
