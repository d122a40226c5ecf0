"""Snapshots kept at a store's head, by a task that looks; never on a request's path.

Apart from the snapshots, because a function whose environment is frozen between events cannot poll, and would pay 50 ms
of its cold start for asyncio.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from gateway.snapshots import Snapshots
from registry.catalogue import Catalogue
from registry.errors import RegistryError
from registry.store import Store

log = logging.getLogger(__name__)

POLL_S = 0.5
"""How stale a catalogue may be; reading one integer from SQLite costs some 20 microseconds, off the path."""


async def follow(
    store: Store,
    snapshots: Snapshots,
    *,
    changed: Callable[[Catalogue], None] = lambda _: None,
    poll_s: float = POLL_S,
) -> None:
    """Keep the snapshots at the store's head until cancelled; the store is read in a thread.

    `changed` is called with each new catalogue before it is decided upon. A store that cannot be read is tried again.
    """
    while True:
        await asyncio.sleep(poll_s)
        try:
            await refresh(store, snapshots, changed=changed)
        except RegistryError as error:
            # The last catalogue stands until the store can be read again.
            log.warning("the catalogue cannot be refreshed: %s", error)


async def refresh(store: Store, snapshots: Snapshots, *, changed: Callable[[Catalogue], None] = lambda _: None) -> None:
    """Bring the snapshots to the store's head once."""
    head = await asyncio.to_thread(store.head)
    if head != snapshots.view()[0].version:
        catalogue = await asyncio.to_thread(store.load)
        changed(catalogue)
        snapshots.replace(catalogue)
