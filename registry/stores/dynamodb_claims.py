"""What one of many may do once in a while, in a partition of the DynamoDB table; says who may, and does nothing."""

from __future__ import annotations

import secrets
from typing import Any

from registry.stores.dynamodb_table import DynamoTable


class DynamoClaims:
    """Claims by name, each kept as one small item until it may be made again; safe for many at once.

    Times are seconds since the epoch. Raises Unavailable.
    """

    def __init__(self, table: DynamoTable, partition: str) -> None:
        self._table = table
        self._partition = partition

    def claim(self, name: str, now: float, every_s: float) -> bool:
        """Take a name, unless it was taken less than so long ago.

        It is ours also when the first try was carried out and its answer lost, and the SDK tried again.
        """
        token = {"S": secrets.token_hex(8)}
        until = {"N": str(int(now + every_s) + 1)}
        there = self._table.put_if(
            {**self._key(name), "at": {"N": repr(now)}, "token": token, "ttl": until},
            "attribute_not_exists(pk) OR #at <= :before",
            ExpressionAttributeNames={"#at": "at"},
            ExpressionAttributeValues={":before": {"N": repr(now - every_s)}},
        )
        return bool(there.get("token") == token)

    def release(self, name: str) -> None:
        """Have the name taken by nobody."""
        with self._table.failures():
            self._table.client.delete_item(TableName=self._table.name, Key=self._key(name))

    def _key(self, name: str) -> dict[str, Any]:
        return {"pk": {"S": self._partition}, "sk": {"S": name}}
