"""A store in one DynamoDB table; a release is seen whole or not at all."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from registry.catalogue import Catalogue
from registry.errors import Conflict, DigestMismatch, NotFound
from registry.store import Release, roll_back, utc_now
from registry.stores.dynamodb_table import DynamoTable
from registry.stores.snapshots import pack, unpack

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

RELEASES = "CATALOGUE"
"""The partition with one small item per release, sorted by version: the log."""

CHUNK_BYTES = 350_000
"""An item is limited to 400 KB, its keys and attribute names included (DynamoDB Developer Guide, quotas)."""


COPIES = 4
"""Of each snapshot: a partition gives 6,000 times 4 KB a second to who need not be sure (DynamoDB Developer Guide,
quotas), and when a catalogue is released every environment reads it within the same 2 s: so a thousand of them can have
one of 140 KB, some 200 placements."""


class DynamoStore:
    """Keeps the log under the partition key `CATALOGUE`, and each snapshot in chunks under a partition of its own.

    A publisher first writes its chunks where nobody looks, then puts the log item on the condition that no item
    has that version. That one write is the compare-and-set and makes the release visible, so two publishers cannot
    both win, and one that dies half way leaves nothing that a reader would see. The log is read consistently. A
    snapshot lies in COPIES partitions, one of which a reader takes at random and checks by its digest; another stands
    in for one that is damaged, or not yet where it was read.

    `client` is a boto3 DynamoDB client, made when first needed if not given; a DynamoTable brings its own. The table
    has the keys `pk` and `sk`, both strings. Raises Unavailable when DynamoDB refuses or cannot be reached.
    """

    def __init__(
        self, table: str | DynamoTable, *, client: DynamoDBClient | None = None, now: Callable[[], str] = utc_now
    ) -> None:
        self._table = table if isinstance(table, DynamoTable) else DynamoTable(table, client)
        self._now = now

    def head(self) -> int:
        """The newest version; 0 before the first release."""
        item = self._newest()
        return int(item["version"]["N"]) if item else 0

    def load(self, version: int | None = None) -> Catalogue:
        """The catalogue of a version, or the newest; raises NotFound, or DigestMismatch for a damaged snapshot."""
        item = self._newest() if version is None else self._release(version)
        if not item:
            if version:
                raise NotFound("version", str(version))
            return Catalogue.empty()
        snapshot, expected, actual = item["snapshot"]["S"], item["digest"]["S"], ""
        copies = int(item["copies"]["N"]) if "copies" in item else 1
        first = secrets.randbelow(copies)
        # The first is read as fast and cheaply as it can be; where that is not it, without any doubt.
        for turn, consistent in ((0, False), *((turn, True) for turn in range(copies))):
            data = b"".join(self._chunks(_copy(snapshot, (first + turn) % copies), consistent))
            actual = _digest(data)
            if actual == expected:
                return unpack(data)
        raise DigestMismatch(expected, actual)

    def publish(self, catalogue: Catalogue, *, note: str = "") -> Catalogue:
        """Release as the next version; raises Conflict, and leaves nothing behind, unless based on the head."""
        head = self.head()
        if head != catalogue.version:
            raise Conflict(catalogue.version, head)
        released = catalogue.at(head + 1)
        data, snapshot = pack(released), f"SNAPSHOT#{uuid.uuid4().hex}"
        self._write_chunks(snapshot, data)
        item = {
            "pk": {"S": RELEASES},
            "sk": {"S": _sort_key(released.version)},
            "version": {"N": str(released.version)},
            "published_at": {"S": self._now()},
            "note": {"S": note},
            "snapshot": {"S": snapshot},
            "digest": {"S": _digest(data)},
            "copies": {"N": str(COPIES)},
        }
        if self._table.put_first(item)["snapshot"]["S"] != snapshot:
            self._delete_chunks(snapshot, len(data))
            raise Conflict(catalogue.version, self.head())
        return released

    def rollback(self, version: int) -> Catalogue:
        """Release an older version's facts again, as the next version; raises NotFound."""
        return roll_back(self, version)

    def history(self) -> tuple[Release, ...]:
        """Every release, oldest first."""
        return tuple(
            Release(int(item["version"]["N"]), item["published_at"]["S"], item["note"]["S"])
            for item in self._query(RELEASES)
        )

    def close(self) -> None:
        """Nothing to let go of: the client keeps its own pool of connections."""

    def _newest(self) -> dict[str, Any] | None:
        return next(self._query(RELEASES, ScanIndexForward=False, Limit=1), None)

    def _release(self, version: int) -> dict[str, Any] | None:
        with self._failures():
            key = {"pk": {"S": RELEASES}, "sk": {"S": _sort_key(version)}}
            return self._client.get_item(TableName=self._table.name, Key=key, ConsistentRead=True).get("Item")

    def _write_chunks(self, snapshot: str, data: bytes) -> None:
        for key, start in _chunk_keys(snapshot, len(data)):
            with self._failures():
                chunk = {"data": {"B": data[start : start + CHUNK_BYTES]}}
                self._client.put_item(TableName=self._table.name, Item={**key, **chunk})

    def _delete_chunks(self, snapshot: str, size: int) -> None:
        for key, _ in _chunk_keys(snapshot, size):
            with self._failures():
                self._client.delete_item(TableName=self._table.name, Key=key)

    def _chunks(self, partition: str, consistent: bool) -> Iterator[bytes]:
        for item in self._query(partition, ConsistentRead=consistent):
            yield item["data"]["B"]

    def _query(self, partition: str, **options: Any) -> Iterator[dict[str, Any]]:
        """The items of a partition by sort key, page after page."""
        request: dict[str, Any] = {
            "TableName": self._table.name,
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": partition}},
            "ConsistentRead": True,
            **options,
        }
        while True:
            with self._failures():
                page = self._client.query(**request)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    @property
    def _client(self) -> DynamoDBClient:
        return self._table.client

    def _failures(self) -> AbstractContextManager[None]:
        return self._table.failures()


def _sort_key(version: int) -> str:
    return f"RELEASE#{version:010d}"


def _copy(snapshot: str, copy: int) -> str:
    """The partition of one copy of a snapshot; releases from before there were several have the first."""
    return f"{snapshot}#{copy}" if copy else snapshot


def _chunk_keys(snapshot: str, size: int) -> Iterator[tuple[dict[str, Any], int]]:
    """The keys of every copy's chunks, and where in the data each begins."""
    for copy in range(COPIES):
        for index, start in enumerate(range(0, size, CHUNK_BYTES)):
            yield {"pk": {"S": _copy(snapshot, copy)}, "sk": {"S": f"CHUNK#{index:04d}"}}, start


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
