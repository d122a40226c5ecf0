"""The log of activity in the catalogue's DynamoDB table: one item for each minute and shard, which adds itself up."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from registry.activity import KEPT_MINUTES, Minute, Usage
from registry.documents import from_document, to_document
from registry.model import Slo
from registry.stores.dynamodb_table import DynamoTable

SHARDS = 4
"""Items of a minute. One takes 1,000 writes a second, and an environment writes a few times a minute; but an item is
also limited to 400 KB, some 2,500 tasks."""

TASKS = 25
"""In one write: an update has at most 300 operators and 4 KB of expression (DynamoDB Developer Guide, quotas)."""

DAY = 1440
"""In minutes: whoever starts anew reads all that is kept with three queries."""

CLAIMS = "CAPACITY"
"""The partition of claims."""


class DynamoActivity:
    """Keeps the minutes of a day under the partition key `ACTIVITY#<day>`, until their `ttl`.

    A write adds to counters in place, so writers need not know of each other; one whose answer was lost, and that the
    SDK sent again, is counted twice. `shard` is drawn when it is not given.
    """

    def __init__(self, table: DynamoTable, *, shard: int | None = None) -> None:
        self._table = table
        self._shard = secrets.randbelow(SHARDS) if shard is None else shard

    def add(self, minute: int, usages: Iterable[Usage]) -> None:
        """See ActivityLog."""
        each = list(usages)
        for start in range(0, len(each), TASKS):
            with self._table.failures():
                self._table.client.update_item(
                    TableName=self._table.name,
                    Key={"pk": {"S": _partition(minute)}, "sk": {"S": f"{minute:010d}#{self._shard}"}},
                    **_addition(minute, each[start : start + TASKS]),
                )

    def between(self, first: int, end: int) -> tuple[Minute, ...]:
        """See ActivityLog."""
        found: dict[int, dict[str, Usage]] = {}
        for item in self._items(first, end):
            kept = found.setdefault(int(item["minute"]["N"]), {})
            for usage in _usages(item):
                kept[usage.task] = kept[usage.task].plus(usage) if usage.task in kept else usage
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
        for day in range(first // DAY, (end - 1) // DAY + 1):
            yield from self._table.between(_partition(day * DAY), f"{first:010d}", f"{end - 1:010d}~")


def _partition(minute: int) -> str:
    return f"ACTIVITY#{minute // DAY}"


def _addition(minute: int, usages: Sequence[Usage]) -> dict[str, Any]:
    """The parts of an update that add these usages to their item."""
    names = {"#minute": "minute", "#ttl": "ttl"}
    values: dict[str, Any] = {
        ":minute": {"N": str(minute)},
        ":ttl": {"N": str((minute + KEPT_MINUTES) * 60)},
    }
    for i, usage in enumerate(usages):
        names |= {f"#n{i}": f"n:{usage.task}", f"#r{i}": f"r:{usage.task}", f"#s{i}": f"s:{usage.task}"}
        values |= {f":n{i}": {"N": str(usage.requests)}, f":r{i}": {"N": str(usage.rows)}}
        values[f":s{i}"] = {"S": json.dumps(to_document(usage.slo))}
    sums = ", ".join(f"#n{i} :n{i}, #r{i} :r{i}" for i in range(len(usages)))
    slos = "".join(f", #s{i} = :s{i}" for i in range(len(usages)))
    return {
        "UpdateExpression": f"SET #minute = :minute, #ttl = :ttl{slos} ADD {sums}",
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    }


def _usages(item: dict[str, Any]) -> Iterator[Usage]:
    for name in item:
        if name.startswith("n:"):
            task = name.removeprefix("n:")
            slo = from_document(Slo, json.loads(item[f"s:{task}"]["S"]))
            yield Usage(task, int(item[name]["N"]), int(item[f"r:{task}"]["N"]), slo)
