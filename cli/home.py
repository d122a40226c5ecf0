"""The catalogue of a home folder or of a deployed stack, opened for one command; creates nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cli.cloud import table_of, told_of_cloud
from cli.errors import BadInput

if TYPE_CHECKING:
    from registry.store import Store

CATALOGUE = "catalogue.db"
"""As `gateway.local` names it; importing that from here would make every question pay for a server."""


@contextmanager
def opened(home: Path, stack: str | None = None, table: str | None = None) -> Iterator[Store]:
    """The store of a stack or table where one is named, else that at `home`; raises BadInput when there is none."""
    if stack is not None or table is not None:
        with told_of_cloud():
            from registry.stores.dynamodb import DynamoStore

            yield DynamoStore(table_of(stack, table))
        return
    from registry.stores.sqlite import SqliteStore

    database = home / CATALOGUE
    if not database.exists():
        raise BadInput(f"{home} has no catalogue yet; make one with `modelless register digits --home {home}`")
    store = SqliteStore(database)
    try:
        yield store
    finally:
        store.close()
