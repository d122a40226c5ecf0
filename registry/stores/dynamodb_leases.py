"""Leases in the catalogue's DynamoDB table: one item for each slot, which a conditional write gives to one holder.

A counter that is added to would be one write less where it is full, and wrong: an ADD that is sent again after its
answer was lost counts twice, and what a crash leaves counted somebody has to sweep. Here a slot is its holder's or
nobody's, whatever was sent how often. A lease costs two writes, one to take it and one to give it back. Where the
first slot is another's, that write fails, and is paid for; then each shard is read once, and a few free ones are tried.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from typing import Any
from zlib import crc32

from registry.leases import SKEW_S, Lease
from registry.stores.dynamodb_table import DynamoTable

SHARDS = 4
"""Partitions that a resource's slots are spread over. One takes 1,000 writes a second (DynamoDB Developer Guide,
quotas), so 500 leases; a copy of a GPU's container answers some hundreds of requests a second."""

TRIES = 3
"""Free slots that are tried before all count as taken: of two that saw the same one, one has it."""

KEPT_S = 3600
"""How long after its end an item that nobody took over stays before DynamoDB deletes it; it means nothing by then."""


class DynamoLeases:
    """Keeps leases under the partition keys `LEASE#<resource>#<shard>`, one item for each slot that is taken."""

    def __init__(
        self,
        table: DynamoTable,
        *,
        wall: Callable[[], float] = time.time,
        draw: Callable[[int], int] = random.randrange,
    ) -> None:
        """`draw` gives a whole number below the one it is given, so that not all try the same free slot."""
        self._table = table
        self._wall = wall
        self._draw = draw

    def acquire(self, resource: str, holder: str, *, most: int, for_s: float) -> Lease | None:
        """See Leases; one write where the holder's first slot is free."""
        # By its name, so that to ask again is to ask for the same slot.
        lease = self._take(resource, crc32(holder.encode()) % most, holder, for_s)
        if lease is None:
            for slot in self._others(resource, holder, most):
                lease = self._take(resource, slot, holder, for_s)
                if lease is not None:
                    break
        return lease

    def release(self, lease: Lease) -> None:
        """See Leases; one write."""
        with self._table.failures():
            client = self._table.client
            try:
                client.delete_item(
                    TableName=self._table.name,
                    Key=_key(lease.resource, lease.slot),
                    ConditionExpression="#holder = :holder",
                    ExpressionAttributeNames={"#holder": "holder"},
                    ExpressionAttributeValues={":holder": {"S": lease.holder}},
                )
            except client.exceptions.ConditionalCheckFailedException:
                return  # it is another's by now, or nobody's

    def held(self, resource: str) -> int:
        """See Leases; one query for each shard."""
        return sum(len(self._taken(resource, shard)) for shard in range(SHARDS))

    def close(self) -> None:
        """Nothing to let go of: the client keeps its own pool of connections."""

    def _take(self, resource: str, slot: int, holder: str, for_s: float) -> Lease | None:
        """This slot, unless another holder's lease on it lasts."""
        now = self._wall()
        until = now + for_s
        values: dict[str, Any] = {
            ":holder": {"S": holder},
            ":until": {"N": f"{until:.3f}"},
            ":over": {"N": f"{now - SKEW_S:.3f}"},
            ":ttl": {"N": str(math.ceil(until) + KEPT_S)},
        }
        with self._table.failures():
            client = self._table.client
            try:
                client.update_item(
                    TableName=self._table.name,
                    Key=_key(resource, slot),
                    UpdateExpression="SET #holder = :holder, #until = :until, #ttl = :ttl",
                    ConditionExpression="attribute_not_exists(pk) OR #holder = :holder OR #until <= :over",
                    ExpressionAttributeNames={f"#{name}": name for name in ("holder", "until", "ttl")},
                    ExpressionAttributeValues=values,
                )
            except client.exceptions.ConditionalCheckFailedException:
                return None
        return Lease(resource, slot, holder, until)

    def _others(self, resource: str, holder: str, most: int) -> list[int]:
        """The slot that the holder has already, else some that are free, in no order."""
        taken: dict[int, str] = {}
        for shard in range(min(SHARDS, most)):
            taken |= self._taken(resource, shard)
        mine = [slot for slot, name in taken.items() if name == holder]
        free = [slot for slot in range(most) if slot not in taken]
        return mine[:1] or [free.pop(self._draw(len(free))) for _ in range(min(TRIES, len(free)))]

    def _taken(self, resource: str, shard: int) -> dict[int, str]:
        """Slots of a shard whose leases last, and their holders."""
        over = self._wall() - SKEW_S
        items = self._table.between(_partition(resource, shard), " ", "~")
        lasting = (item for item in items if float(item["until"]["N"]) > over)
        return {int(item["sk"]["S"]): item["holder"]["S"] for item in lasting}


def _key(resource: str, slot: int) -> dict[str, Any]:
    return {"pk": {"S": _partition(resource, slot % SHARDS)}, "sk": {"S": f"{slot:06d}"}}


def _partition(resource: str, shard: int) -> str:
    return f"LEASE#{resource}#{shard}"
