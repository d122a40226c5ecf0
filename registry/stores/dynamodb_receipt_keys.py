"""Receipt keys in the catalogue's DynamoDB table, made by whoever first needs one; remembers them for an hour."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from registry.receipt_keys import PERIOD_S, ReceiptKey, good, new_secret, period
from registry.stores.dynamodb_table import DynamoTable

PARTITION = "RECEIPTKEY"

REMEMBERED_S = 3600.0
"""How long a key is used without a look: an operator who deletes a key that leaked is obeyed within this time."""


class DynamoReceiptKeys:
    """Keeps the keys under the partition key `RECEIPTKEY`, each until its signatures are of no use; safe for threads.

    Of several who make a period's key at once the table takes the first's, and all get that.
    """

    def __init__(self, table: DynamoTable, *, wall: Callable[[], float] = time.time) -> None:
        self._table = table
        self._wall = wall
        self._remembered: dict[str, tuple[float, ReceiptKey]] = {}

    def current(self) -> ReceiptKey:
        """See ReceiptKeys."""
        id_ = str(period(self._wall()))
        return self._known(id_) or self._remember(self._read(id_) or self._made(id_))

    def find(self, id_: str) -> ReceiptKey | None:
        """See ReceiptKeys; an id that cannot be good costs no read."""
        if id_ not in good(self._wall()):
            return None
        if (key := self._known(id_) or self._read(id_)) is None:
            return None
        return self._remember(key)

    def _known(self, id_: str) -> ReceiptKey | None:
        until, key = self._remembered.get(id_, (float("-inf"), None))
        return key if self._wall() < until else None

    def _remember(self, key: ReceiptKey) -> ReceiptKey:
        known = self._known(key.id)
        if known is None:
            self._remembered[key.id] = self._wall() + REMEMBERED_S, key
        return key

    def _read(self, id_: str) -> ReceiptKey | None:
        with self._table.failures():
            key = {"pk": {"S": PARTITION}, "sk": {"S": id_}}
            item = self._table.client.get_item(TableName=self._table.name, Key=key, ConsistentRead=True).get("Item")
        return _key(item) if item else None

    def _made(self, id_: str) -> ReceiptKey:
        item: dict[str, Any] = {
            "pk": {"S": PARTITION},
            "sk": {"S": id_},
            "secret": {"B": new_secret()},
            # Of no use once the next period is over.
            "ttl": {"N": str((int(id_) + 2) * PERIOD_S)},
        }
        return _key(self._table.put_first(item))


def _key(item: dict[str, Any]) -> ReceiptKey:
    return ReceiptKey(item["sk"]["S"], bytes(item["secret"]["B"]))
