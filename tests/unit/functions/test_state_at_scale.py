"""What state costs and where it is hot: calls to the table are counted, for hours of requests on a virtual clock."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

from functions.aws.activity import Activity
from functions.aws.backends import LambdaBackends
from functions.aws.catalogue import CatalogueWatch
from gateway.snapshots import Snapshots
from registry.catalogue import Catalogue
from registry.stores.dynamodb import COPIES, DynamoStore
from registry.stores.dynamodb_activity import SHARDS, DynamoActivity
from registry.stores.dynamodb_sightings import DynamoSightings
from registry.stores.dynamodb_table import DynamoTable
from registry.stores.snapshots import pack
from scheduler.requests import Request

DESIGN = (Path(__file__).resolve().parents[3] / "docs" / "design.md").read_text()
SMALL = "lambda-1769-snapstart"
START = 29_000_000 * 60.0
WRITE_USD, READ_USD = 0.625e-6, 0.125e-6
"""Of a write of up to 1 KB, and of a consistent read of up to 4 KB (DynamoDB, on demand, us-east-1)."""

PARTITION_WRITES, PARTITION_READS = 1000, 3000
"""Units a second that one partition takes (DynamoDB Developer Guide, quotas)."""


class Counted:
    """A table's client that keeps items, and counts units by kind, partition and second."""

    class exceptions:  # noqa: N801 - as botocore names it
        class ConditionalCheckFailedException(Exception): ...

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._items: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self.units: Counter[tuple[str, str, int]] = Counter()
        self.calls: Counter[str] = Counter()

    def query(self, **request: Any) -> dict[str, Any]:
        values = request["ExpressionAttributeValues"]
        partition = values[":pk"]["S"]
        items = self._items[partition]
        if ":first" in values:
            first, last = values[":first"]["S"], values[":last"]["S"]
            found = [item for sk, item in items.items() if first <= sk <= last]
        else:
            found = [items[sk] for sk in sorted(items)]
        if request.get("ScanIndexForward") is False:
            found.reverse()
        found = found[: request.get("Limit", len(found))]
        blocks = max(1, -(-sum(map(_bytes, found)) // 4096))
        self._count("read", partition, blocks if request["ConsistentRead"] else blocks / 2)
        return {"Items": found}

    def put_item(self, **request: Any) -> None:
        self._keep(request["Item"]["pk"]["S"], request["Item"]["sk"]["S"], request["Item"])

    def update_item(self, **request: Any) -> None:
        key, values = request["Key"], request["ExpressionAttributeValues"]
        item = {**key, **{name.strip(":"): value for name, value in values.items()}}
        self._keep(key["pk"]["S"], key["sk"]["S"], item)

    def _keep(self, partition: str, sort: str, item: dict[str, Any]) -> None:
        self._items[partition][sort] = item
        self._count("write", partition, -(-_bytes(item) // 1024))

    def _count(self, kind: str, partition: str, units: float) -> None:
        self.calls[kind] += 1
        self.units[kind, partition, int(self._clock())] += units  # type: ignore[assignment]

    def total(self, kind: str) -> float:
        return sum(units for (of, _, _), units in self.units.items() if of == kind)

    def busiest(self, kind: str, prefix: str, seconds: int = 10) -> float:
        """Units a second of the partition that has most, on average over so many seconds: bursts are forgiven."""
        found: Counter[tuple[str, int]] = Counter()
        for (of, partition, second), units in self.units.items():
            if of == kind and partition.startswith(prefix):
                found[partition, second // seconds] += units  # type: ignore[assignment]
        return max(found.values(), default=0) / seconds


def _bytes(item: dict[str, Any]) -> int:
    def size(value: Any) -> int:
        if isinstance(value, dict):
            return sum(size(inner) for inner in value.values())
        if isinstance(value, list):
            return sum(map(size, value))
        return len(value)

    return sum(len(name) + size(value) for name, value in item.items())


class AtOnce(Executor):
    """Does what it is given when it is given."""

    def submit(self, work: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(work(*given, **named))
        return future


class Api:
    """What one environment of the api function does to the table for each request."""

    def __init__(self, catalogue: Catalogue, client: Counted, clock: Callable[[], float], shard: int) -> None:
        self.snapshots = Snapshots(Catalogue.empty())
        backends = LambdaBackends({SMALL: "worker:live"}, emit=self.snapshots.emit, clock=clock)
        table = DynamoTable("table", client)  # type: ignore[arg-type]
        self.watch = CatalogueWatch(
            DynamoStore(table), self.snapshots, changed=backends.follow, clock=clock, thread=AtOnce()
        )
        self.activity = Activity(
            DynamoActivity(table, shard=shard % SHARDS),
            DynamoSightings(table),
            self.snapshots,
            backends.by_tier,
            clock=clock,
            wall=lambda: START + clock(),
            thread=AtOnce(),
        )
        self.backends, self._clock = backends, clock

    def request(self, task: str, worker: int) -> None:
        """One request for a task, which one of the workers answers."""
        self.watch.look()
        self.activity.look()
        catalogue = self.snapshots.view()[0]
        self.activity.note(Request(task, catalogue.tasks["sum"].default_slo, 1))
        backend: Any = self.backends.by_tier[SMALL]
        backend.sighted(f"{SMALL}-{worker:016x}", ("sum/fine",), self._clock())


class Fleet:
    """So many environments of the api function over one table."""

    def __init__(self, catalogue: Catalogue, environments: int, workers: int, tasks: int) -> None:
        self.now = 0.0
        self.client = Counted(lambda: self.now)
        self.store = DynamoStore(DynamoTable("table", self.client))  # type: ignore[arg-type]
        self.released = self.store.publish(catalogue)
        self.client.units.clear()
        self.client.calls.clear()
        self.apis = [Api(catalogue, self.client, lambda: self.now, shard) for shard in range(environments)]
        self._workers, self._tasks = workers, tasks
        self.requests = 0

    def run(self, seconds: float, a_second: float) -> None:
        """So many requests a second in all, taking turns over environments, tasks and workers."""
        until = self.now + seconds
        while self.now < until:
            turn = self.requests
            self.apis[turn % len(self.apis)].request(
                f"task-{turn // len(self.apis) % self._tasks}", (turn * 7919) % self._workers
            )
            self.requests += 1
            self.now += 1.0 / a_second

    def usd_per_million(self) -> float:
        usd = self.client.total("write") * WRITE_USD + self.client.total("read") * READ_USD
        return 1e6 * usd / self.requests


def documented(row: str) -> list[float]:
    """The figures of a row of design.md's table of state: reads and writes for a request, and dollars a million."""
    (cells,) = re.findall(rf"^\| {re.escape(row)} \| ([0-9.]+) \| ([0-9.]+) \| ([0-9.]+) \|$", DESIGN, re.M)
    return [float(cell) for cell in cells]


@pytest.mark.parametrize(
    ("row", "environments", "a_second", "seconds"),
    [
        ("1 a minute, 1 environment", 1, 1 / 60, 3600),
        ("1 a second, 2 environments", 2, 1, 3600),
        ("20 a second, 10 environments", 10, 20, 300),
        ("200 a second, 40 environments", 40, 200, 60),
    ],
)
def test_state_costs_what_is_documented(
    row: str, environments: int, a_second: float, seconds: float, catalogue: Catalogue
) -> None:
    fleet = Fleet(catalogue, environments, environments, tasks=5)
    fleet.run(seconds, a_second)

    reads, writes = (fleet.client.total(kind) / fleet.requests for kind in ("read", "write"))
    assert [reads, writes, fleet.usd_per_million()] == pytest.approx(documented(row), rel=0.1, abs=0.006)


def test_writes_thin_out_as_requests_come(catalogue: Catalogue) -> None:
    """A write for each request is what no busy platform pays."""
    fleet = Fleet(catalogue, environments=4, workers=40, tasks=2)
    fleet.run(60, a_second=100)

    assert fleet.client.calls["write"] < 0.02 * fleet.requests


def test_no_partition_is_hot_at_ten_thousand_a_second(catalogue: Catalogue) -> None:
    """40 environments at 10 requests a second each stand for 1,000: a partition's units grow with their number."""
    scale, environments = 25, 40
    fleet = Fleet(catalogue, environments, workers=environments, tasks=20)
    fleet.now = 38.0  # so that the next minute, at which all write, begins once they may look again
    fleet.run(45, a_second=environments * 10)

    assert fleet.client.busiest("write", "SEEN#") > 0
    for prefix in ("CATALOGUE", "ACTIVITY#", "SEEN#"):
        assert scale * fleet.client.busiest("write", prefix) < PARTITION_WRITES / 2, prefix
    assert scale * fleet.client.busiest("read", "CATALOGUE") < PARTITION_READS / 2
    # What others saw grows with both how many look and how much there is to see.
    assert scale * scale * fleet.client.busiest("read", "SEEN#") < PARTITION_READS / 2


def test_a_release_is_everywhere_within_two_seconds(catalogue: Catalogue) -> None:
    fleet = Fleet(catalogue, environments=50, workers=50, tasks=1)
    fleet.run(10, a_second=500)
    fleet.client.units.clear()

    released = fleet.store.publish(fleet.released)
    at = fleet.now
    while any(api.snapshots.view()[0].version != released.version for api in fleet.apis):
        fleet.run(0.01, a_second=500)
        assert fleet.now - at < 2.0


def test_a_release_can_be_read_by_a_thousand_environments_at_once(catalogue: Catalogue) -> None:
    """In the seconds after it, each reads one copy: what design.md says of catalogues' sizes."""
    (kilobytes, environments) = re.findall(r"catalogue of (\d+) KB is read by ([\d,]+) environments", DESIGN)[0]
    blocks = int(kilobytes) * 1024 / 4096
    units = int(environments.replace(",", "")) * blocks / 2 / COPIES / 2.0

    assert units <= PARTITION_READS
    assert len(pack(catalogue)) < int(kilobytes) * 1024
