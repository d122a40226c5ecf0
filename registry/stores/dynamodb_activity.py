"""The log of activity in the catalogue's DynamoDB table: one item for each minute and task, which adds itself up."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator
from typing import Any

from registry.activity import KEPT_MINUTES, Minute, Usage, slo_of
from registry.documents import to_document
from registry.stores.dynamodb_table import DynamoTable

SHARDS = 16
"""Partitions of a day. One takes 1,000 writes a second, and one of an item under 1 KB counts as one (DynamoDB Developer
Guide, quotas): an item of many tasks would count as so many as it has kilobytes, and end at 400. Together they take the
10,000 a second of as many requests that are each the first of their task, minute and environment."""

DAY = 1440
"""In minutes: whoever starts anew reads all that is kept with three queries of each shard, and their further pages."""

CLAIMS = "CAPACITY"
"""The partition of claims."""


class DynamoActivity:
    """Keeps the minutes of a day under the partition keys `ACTIVITY#<day>#<shard>`, until their `ttl`.

    A write adds to counters in place, so writers need not know of each other; one whose answer was lost, and that the
    SDK sent again, is counted twice. `shard` is where this one writes, drawn when it is not given.
    """

    def __init__(self, table: DynamoTable, *, shard: int | None = None) -> None:
        self._table = table
        self._shard = secrets.randbelow(SHARDS) if shard is None else shard

    def add(self, minute: int, usages: Iterable[Usage]) -> None:
        """See ActivityLog; a write for each task, in turn."""
        for usage in usages:
            with self._table.failures():
                self._table.client.update_item(
                    TableName=self._table.name,
                    Key={
                        "pk": {"S": _partition(minute // DAY, self._shard)},
                        "sk": {"S": f"{minute:010d}#{usage.task}"},
                    },
                    UpdateExpression="SET #slo = :slo, #ttl = :ttl ADD #requests :requests, #rows :rows",
                    ExpressionAttributeNames={f"#{name}": name for name in ("slo", "ttl", "requests", "rows")},
                    ExpressionAttributeValues={
                        ":slo": {"S": json.dumps(to_document(usage.slo))},
                        ":ttl": {"N": str((minute + KEPT_MINUTES) * 60)},
                        ":requests": {"N": str(usage.requests)},
                        ":rows": {"N": str(usage.rows)},
                    },
                )

    def between(self, first: int, end: int) -> tuple[Minute, ...]:
        """See ActivityLog."""
        found: dict[int, dict[str, Usage]] = {}
        for item in self._items(first, end):
            minute, _, task = item["sk"]["S"].partition("#")
            usage = Usage(task, int(item["requests"]["N"]), int(item["rows"]["N"]), slo_of(item["slo"]["S"]))
            kept = found.setdefault(int(minute), {})
            kept[task] = kept[task].plus(usage) if task in kept else usage
        return tuple(Minute(m, tuple(kept[task] for task in sorted(kept))) for m, kept in sorted(found.items()))

    def claim(self, name: str, minute: int) -> bool:
        """See ActivityLog."""
        with self._table.failures():
            client = self._table.client
            try:
                client.update_item(
                    TableName=self._table.name,
                    Key={"pk": {"S": CLAIMS}, "sk": {"S": f"CLAIM#{name}"}},
                    UpdateExpression="SET #minute = :minute",
                    ConditionExpression="attribute_not_exists(pk) OR #minute < :minute",
                    ExpressionAttributeNames={"#minute": "minute"},
                    ExpressionAttributeValues={":minute": {"N": str(minute)}},
                )
            except client.exceptions.ConditionalCheckFailedException:
                return False
        return True

    def close(self) -> None:
        """Nothing to let go of: the client keeps its own pool of connections."""

    def _items(self, first: int, end: int) -> Iterator[dict[str, Any]]:
        """The items of the minutes from `first` on and before `end`, partition after partition."""
        if first >= end:  # a range that ends before it begins is refused
            return
        for day in range(first // DAY, (end - 1) // DAY + 1):
            for shard in range(SHARDS):
                yield from self._table.between(_partition(day, shard), f"{first:010d}", f"{end - 1:010d}~")


def _partition(day: int, shard: int) -> str:
    return f"ACTIVITY#{day}#{shard}"
