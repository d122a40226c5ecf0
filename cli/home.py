"""The store of a home folder, opened for one command; creates nothing that a question does not need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cli.errors import BadInput

if TYPE_CHECKING:
    from registry.store import Store

CATALOGUE = "catalogue.db"
"""As `gateway.local` names it; importing that from here would make every question pay for a server."""


@contextmanager
def opened(home: Path) -> Iterator[Store]:
    """The store at `home`; raises BadInput when there is none."""
    from registry.stores.sqlite import SqliteStore

    database = home / CATALOGUE
    if not database.exists():
        raise BadInput(f"{home} has no catalogue yet; make one with `modelless register digits --home {home}`")
    store = SqliteStore(database)
    try:
        yield store
    finally:
        store.close()
