"""Environments of the api function over one table whose calls are counted: a virtual clock, and no network.

What runs is what runs in the cloud: the watch on the catalogue and the log of activity, for each request. The table's
client keeps items in memory and counts what DynamoDB would bill and where, and the functions' threads do at once what
they are given.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from math import ceil
from typing import Any

from benchmarks.at_once import AtOnce
from functions.aws.activity import Activity
from functions.aws.backends import CloudBackends
from functions.aws.catalogue import CatalogueWatch
from gateway.snapshots import Snapshots
from registry.catalogue import Catalogue
from registry.prices import figures
from registry.stores.dynamodb import DynamoStore
from registry.stores.dynamodb_activity import SHARDS, DynamoActivity
from registry.stores.dynamodb_sightings import DynamoSightings
from registry.stores.dynamodb_table import DynamoTable
from scheduler.requests import Request

START = 29_000_000 * 60.0
"""Of the wall clock (s): a full minute."""

WRITE_BYTES, READ_BYTES = 1024, 4096
"""What one unit writes, and reads consistently; twice as much otherwise (DynamoDB Developer Guide, capacity)."""

WINDOW_S = 10
"""Over which a partition's load is averaged: DynamoDB forgives bursts, by keeping five minutes of what was unused."""


class CountedTable:
    """A table's client that keeps items, and counts units by kind (`read`, `write`), partition and second."""

    class exceptions:  # noqa: N801 - as botocore names it
        class ConditionalCheckFailedException(Exception):
            """Never raised: one publisher alone writes here."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._items: dict[str, dict[str, tuple[dict[str, Any], int]]] = defaultdict(dict)
        """Each with its size in bytes."""
        self.forget()

    def forget(self) -> None:
        """Count from here."""
        self.calls = {"read": 0, "write": 0}
        self._units: dict[tuple[str, str, int], float] = defaultdict(float)

    def units(self, kind: str) -> float:
        """Of all partitions."""
        return sum(units for (of, _, _), units in self._units.items() if of == kind)

    def busiest(self, kind: str, prefix: str = "") -> float:
        """Units a second of the partition that has most, of those whose keys begin so, in its busiest window."""
        found: dict[tuple[str, int], float] = defaultdict(float)
        for (of, partition, second), units in self._units.items():
            if of == kind and partition.startswith(prefix):
                found[partition, second // WINDOW_S] += units
        return max(found.values(), default=0.0) / WINDOW_S

    def query(self, **request: Any) -> dict[str, Any]:
        """As boto3's; one page."""
        values = request["ExpressionAttributeValues"]
        partition = values[":pk"]["S"]
        first, last = (values.get(name, {"S": None})["S"] for name in (":first", ":last"))
        held = self._items[partition]
        keys = [key for key in sorted(held) if first is None or first <= key <= last]
        if request.get("ScanIndexForward") is False:
            keys.reverse()
        found = [held[key] for key in keys[: request.get("Limit")]]
        blocks = max(1, ceil(sum(size for _, size in found) / READ_BYTES))
        self._count("read", partition, blocks if request["ConsistentRead"] else blocks / 2)
        return {"Items": [item for item, _ in found]}

    def put_item(self, **request: Any) -> None:
        """As boto3's."""
        self._keep(request["Item"])

    def update_item(self, **request: Any) -> None:
        """As boto3's, for an item that nobody looks into: it has what was given, and is as large."""
        given = {name.strip(":"): value for name, value in request["ExpressionAttributeValues"].items()}
        self._keep({**request["Key"], **given})

    def _keep(self, item: dict[str, Any]) -> None:
        partition, size = item["pk"]["S"], sum(len(name) + _bytes(value) for name, value in item.items())
        self._items[partition][item["sk"]["S"]] = item, size
        self._count("write", partition, ceil(size / WRITE_BYTES))

    def _count(self, kind: str, partition: str, units: float) -> None:
        self.calls[kind] += 1
        self._units[kind, partition, int(self._clock())] += units


def _bytes(value: Any) -> int:
    """Of an attribute's value; the names of types are counted too, which is some bytes more than DynamoDB does."""
    match value:
        case dict():
            return sum(len(name) + _bytes(inner) for name, inner in value.items())
        case list():
            return sum(map(_bytes, value))
    return len(value)


class Environment:
    """What one environment of the api function does to the table for each request."""

    def __init__(self, table: DynamoTable, tier: str, clock: Callable[[], float], shard: int) -> None:
        self.snapshots = Snapshots(Catalogue.empty())
        backends = CloudBackends({tier: "worker:live"}, emit=self.snapshots.emit, clock=clock)
        self._watch = CatalogueWatch(
            DynamoStore(table), self.snapshots, changed=backends.follow, clock=clock, thread=AtOnce()
        )
        self._activity = Activity(
            DynamoActivity(table, shard=shard % SHARDS),
            DynamoSightings(table),
            self.snapshots,
            backends.by_tier,
            clock=clock,
            wall=lambda: START + clock(),
            thread=AtOnce(),
        )
        self._workers, self._tier, self._clock = backends.by_tier, tier, clock

    @property
    def version(self) -> int:
        """Of the catalogue that it decides by."""
        return self.snapshots.view()[0].version

    def request(self, task: str, worker: int, resident: Sequence[str]) -> None:
        """One request for a task, which the worker of that number answers, and holds these variants."""
        self._watch.look()
        self._activity.look()
        catalogue = self.snapshots.view()[0]
        self._activity.note(Request(task, catalogue.tasks[task].default_slo, 1))
        backend: Any = self._workers[self._tier]
        backend.sighted(f"{self._tier}-{worker:016x}", tuple(resident), self._clock())


class Api:
    """So many environments, and as many workers, over one table and a catalogue; requests take turns over them all."""

    def __init__(
        self, catalogue: Catalogue, tier: str, environments: int, *, resident: int = 1, now: float = 0.0
    ) -> None:
        """Each worker holds so many variants; `now` is the clock's, in seconds after a full minute."""
        self.now, self.requests = now, 0
        self.table = CountedTable(lambda: self.now)
        self._catalogue, self._tasks = catalogue, sorted(catalogue.tasks)
        self._resident = sorted(catalogue.variants)[:resident]
        table = DynamoTable("table", self.table)  # type: ignore[arg-type]
        self._store = DynamoStore(table)
        self.release()
        self.table.forget()
        self.environments = [Environment(table, tier, lambda: self.now, shard) for shard in range(environments)]

    def release(self) -> int:
        """Publish the catalogue, once more after the first time; its version."""
        self._catalogue = self._store.publish(self._catalogue)
        return self._catalogue.version

    def run(self, seconds: float, rate: float) -> None:
        """So many requests a second in all, for so long."""
        until, count = self.now + seconds, len(self.environments)
        while self.now < until:
            turn = self.requests
            task = self._tasks[turn // count % len(self._tasks)]
            self.environments[turn % count].request(task, turn * 7919 % count, self._resident)
            self.requests += 1
            self.now += 1.0 / rate

    def each(self, kind: str) -> float:
        """Units, of a kind, for each request."""
        return self.table.units(kind) / self.requests

    def usd_per_million(self) -> float:
        """US dollars for what a million requests like these read and write."""
        sheet = figures()["dynamodb"]
        return float(1e6 * sum(self.each(kind) * sheet[f"usd_per_{kind}"] for kind in ("read", "write")))
