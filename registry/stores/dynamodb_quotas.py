"""What tenants spent of their quotas, in the catalogue's table: a few counters for each tenant and span of time.

Partition `QUOTA#<hash>`, sort key `<window>#<shard>`; an item is gone soon after its window. The tenant is named by a
hash, as names may be longer than a key, or personal.
"""

from __future__ import annotations

import hashlib

from registry.stores.dynamodb_table import DynamoTable

KEPT_WINDOWS = 6
"""For which a counter outlives its window: the clocks of two writers differ by less."""


class DynamoQuotas:
    """Counters of one table; each writer has a shard of its own among `shards`, so that none is hot."""

    def __init__(self, table: DynamoTable, shard: int) -> None:
        self._table, self._shard = table, shard

    def spend(self, tenant: str, window: int, window_s: float, count: int) -> int:
        """Add `count` requests to a tenant's window (whole number of `window_s`); what all have spent in it so far.

        One small write, and one read of the window's few items. Raises Unavailable.
        """
        partition = partition_of(tenant)
        with self._table.failures():
            self._table.client.update_item(
                TableName=self._table.name,
                Key={"pk": {"S": partition}, "sk": {"S": f"{window}#{self._shard}"}},
                UpdateExpression="ADD spent :count SET #ttl = :ttl",
                ExpressionAttributeNames={"#ttl": "ttl"},
                ExpressionAttributeValues={
                    ":count": {"N": str(count)},
                    ":ttl": {"N": str(int((window + KEPT_WINDOWS) * window_s))},
                },
            )
        items = self._table.between(partition, f"{window}#", f"{window}#~")
        return sum(int(item["spent"]["N"]) for item in items)


def partition_of(tenant: str) -> str:
    """The partition key of a tenant."""
    return f"QUOTA#{hashlib.sha256(tenant.encode()).hexdigest()[:32]}"
